//! The `wirefan-loadtest` binary.
fn main() {}
