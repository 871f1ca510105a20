//! The `udp-director` process.
fn main() {}
