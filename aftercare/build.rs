//! A new migration folder changes no Rust source; without this, `embed_migrations!` would miss it.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
