//! Feeds libFuzzer's inputs to the target `sealed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| udp_director_fuzz::sealed(input));
