//! Feeds libFuzzer's inputs to the target `datagrams`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| udp_director_fuzz::datagrams(input));
