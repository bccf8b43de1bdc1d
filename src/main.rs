//! The `wirefan` binary.

fn main() {}
