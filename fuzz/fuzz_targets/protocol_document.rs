#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aftercare_tests::fuzz::protocol_document(bytes));
