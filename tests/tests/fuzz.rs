//! The corpus that fuzzing has found, played again without a fuzzer.

use std::path::Path;

use aftercare_tests::fuzz::ENTRIES;

#[test]
fn the_corpus_breaks_no_promise() {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"));
    for (name, entry) in ENTRIES {
        let files = std::fs::read_dir(corpus.join(name)).unwrap();
        let mut played = 0;
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let fine = std::panic::catch_unwind(|| entry(&bytes));
            assert!(fine.is_ok(), "{}", path.display());
            played += 1;
        }
        assert!(played > 0, "{name} has no corpus");
        println!("{name}: {played} inputs");
    }
}
