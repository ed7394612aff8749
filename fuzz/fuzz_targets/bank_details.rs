#![no_main]

#[path = "../../lombard/tests/outside/targets.rs"]
#[allow(dead_code, reason = "the other targets stand in the same file")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::bank_details(data));
