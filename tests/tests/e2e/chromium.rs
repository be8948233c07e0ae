//! A real browser, when this machine has one.

use std::path::Path;
use std::process::Command;

/// Whether Debian's Chromium is here; says so in one line when it is not, and fails where it is
/// required.
pub(crate) fn is_installed() -> bool {
    has(Command::new("chromium").arg("--version").output().is_ok(), "chromium")
}

/// The same of anything else that a browser's test takes.
pub(crate) fn has(it: bool, named: &str) -> bool {
    if !it {
        let required = std::env::var("AFTERCARE_TEST_CHROMIUM").as_deref() == Ok("required");
        assert!(!required, "{named} is missing");
        println!("Not run in a browser: {named} is missing.");
    }
    it
}

/// What Chromium does with a page when it is told so by flags.
fn run(folder: &Path, flags: &[&str], page: &Path) {
    let output = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(flags)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// How many sheets a page takes when it is printed.
pub(crate) fn sheets(folder: &Path, name: &str, html: &str) -> usize {
    let (page, pdf) = (folder.join(format!("{name}.html")), folder.join(format!("{name}.pdf")));
    std::fs::write(&page, html).unwrap();
    let print = format!("--print-to-pdf={}", pdf.display());
    run(folder, &["--no-pdf-header-footer", &print], &page);
    let pdf = std::fs::read(pdf).unwrap();
    assert!(pdf.starts_with(b"%PDF-"));
    // Chromium writes each page's dictionary in plain text.
    let text = String::from_utf8_lossy(&pdf);
    text.match_indices("/Type /Page").filter(|(at, _)| !text[at + 11..].starts_with('s')).count()
}
