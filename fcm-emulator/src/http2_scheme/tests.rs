//! Byte streams through the adaptor, fed in pieces of every size.

use loona_hpack::{Decoder, Encoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What comes out when `input` arrives in pieces of `step` bytes.
async fn through(input: &[u8], step: usize) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(step);
    let input = input.to_vec();
    let writer = async move {
        client.write_all(&input).await.unwrap();
        drop(client);
    };
    let mut output = Vec::new();
    let mut fixed = SchemeFix::new(server);
    let ((), read) = tokio::join!(writer, fixed.read_to_end(&mut output));
    read.unwrap();
    output
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

fn block(encoder: &mut Encoder<'_>, scheme: &str, more: &str) -> Vec<u8> {
    encoder.encode([
        (&b":method"[..], &b"POST"[..]),
        (b":scheme", scheme.as_bytes()),
        (b":path", b"/v1/projects/p/messages:send"),
        (b"authorization", more.as_bytes()),
    ])
}

/// The frames of a stream behind the preface: kind, flags, stream, payload.
fn frames(output: &[u8]) -> Vec<(u8, u8, u8, Vec<u8>)> {
    let mut rest = output.strip_prefix(PREFACE).unwrap();
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        frames.push((rest[3], rest[4], rest[8], rest[9..9 + length].to_vec()));
        rest = &rest[9 + length..];
    }
    frames
}

#[tokio::test]
async fn http1_and_sound_http2_pass_untouched() {
    let http1 = b"PRI was not meant, POST / HTTP/1.1\r\n\r\n";
    let mut encoder = Encoder::new();
    let mut http2 = PREFACE.to_vec();
    http2.extend(frame(4, 0, 0, &[]));
    http2.extend(frame(HEADERS, END_HEADERS, 1, &block(&mut encoder, "https", "a")));
    http2.extend(frame(0, END_STREAM, 1, b"{}"));
    http2.extend(frame(HEADERS, END_HEADERS, 3, &block(&mut encoder, "https:", "a")));
    for step in [1, 2, 7, 4096] {
        assert_eq!(through(http1, step).await, http1);
        assert_eq!(through(&http2, step).await, http2);
        assert_eq!(through(b"PRI", step).await, b"PRI");
        assert_eq!(through(b"", step).await, b"");
    }
}

#[tokio::test]
async fn the_colon_goes_and_the_tables_stay_in_step() {
    let mut encoder = Encoder::new();
    let mut input = PREFACE.to_vec();
    input.extend(frame(4, 0, 0, &[]));
    for (stream, value) in [(1, "Bearer a"), (3, "Bearer a"), (5, "Bearer b")] {
        // From the second request on, these blocks are references to the client's table.
        let block = block(&mut encoder, "https:", value);
        input.extend(frame(HEADERS, END_HEADERS, stream, &block));
        input.extend(frame(0, END_STREAM, stream, b"{}"));
    }
    for step in [1, 5, 4096] {
        let frames = frames(&through(&input, step).await);
        let kinds: Vec<_> = frames.iter().map(|(kind, _, stream, _)| (*kind, *stream)).collect();
        assert_eq!(kinds, [(4, 0), (1, 1), (0, 1), (1, 3), (0, 3), (1, 5), (0, 5)]);
        for (index, value) in [(1, "Bearer a"), (3, "Bearer a"), (5, "Bearer b")] {
            // A decoder without a history must understand every block by itself.
            let fields = Decoder::new().decode(&frames[index].3).unwrap();
            assert_eq!(fields[1], (b":scheme".to_vec(), b"https".to_vec()));
            assert_eq!(fields[3], (b"authorization".to_vec(), value.into()));
        }
    }
}

#[tokio::test]
async fn padding_priority_and_continuations_are_understood() {
    let long = "x".repeat(20_000);
    let block = block(&mut Encoder::new(), "https:", &long);
    let (first, rest) = block.split_at(10);
    let (second, third) = rest.split_at(9_000);
    let priority = [0, 0, 0, 0, 200];
    let padded = [&[3][..], &priority, first, &[0; 3]].concat();
    let mut input = PREFACE.to_vec();
    input.extend(frame(HEADERS, PADDED | PRIORITY | END_STREAM, 1, &padded));
    input.extend(frame(CONTINUATION, 0, 1, second));
    input.extend(frame(CONTINUATION, END_HEADERS, 1, third));
    let frames = frames(&through(&input, 4096).await);
    let flags: Vec<_> = frames.iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    assert_eq!(flags, [(HEADERS, PRIORITY | END_STREAM), (CONTINUATION, END_HEADERS)]);
    assert!(frames[0].3.len() == MAX_FRAME && frames[0].3.starts_with(&priority));
    let whole = [&frames[0].3[5..], &frames[1].3].concat();
    let fields = Decoder::new().decode(&whole).unwrap();
    assert_eq!(fields[1].1, b"https");
    assert_eq!(fields[3].1, long.as_bytes());
}

#[tokio::test]
async fn nonsense_is_handed_on_for_hyper_to_refuse() {
    let bad = block(&mut Encoder::new(), "https:", "a");
    let cases = [
        frame(HEADERS, END_HEADERS, 1, &[0xff; 20]),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[200, 1, 2]),
        frame(HEADERS, END_HEADERS | PADDED, 1, &[]),
        frame(HEADERS, END_HEADERS | PRIORITY, 1, &[1]),
        [frame(HEADERS, 0, 1, &bad), frame(0, 0, 1, b"x")].concat(),
        [frame(HEADERS, 0, 1, &bad), frame(CONTINUATION, END_HEADERS, 3, b"x")].concat(),
        [frame(HEADERS, 0, 1, &bad), frame(CONTINUATION, 0, 1, &vec![0; 16_000]).repeat(10)]
            .concat(),
        frame(HEADERS, 0, 1, &bad),
        frame(0, 0, 1, &vec![0; 16_385]),
        vec![0, 0],
    ];
    for case in cases {
        let input = [PREFACE, &case].concat();
        assert_eq!(through(&input, 4096).await, input);
    }
}
