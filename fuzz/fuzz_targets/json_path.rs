//! Feeds libFuzzer's inputs to the target `json_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| udp_director_fuzz::json_path(input));
