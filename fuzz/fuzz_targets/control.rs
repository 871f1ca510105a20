//! Feeds libFuzzer's inputs to the target `control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| udp_director_fuzz::control(input));
