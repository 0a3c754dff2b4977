//! The `fer` command: parses its arguments, runs one command, and turns the outcome into an exit
//! code.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

use std::process::ExitCode;

use fer::kernels::allocator::{Reuse, allow_wide_heap};

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

fn main() -> ExitCode {
    allow_wide_heap();
    // ONNX Runtime 1.29 and newer sends telemetry unless this is set before it starts; the switch
    // in its interface comes too late. Users who want it can set the variable to 0.
    if std::env::var_os("ORT_DISABLE_TELEMETRY").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    }
    // Tensors that are read from a checkpoint are on Burn's default device until the first step
    // moves them to the run's device. The default is the CPU, whatever this build and this machine
    // have. SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    ExitCode::from(fer::cli::run(std::env::args_os()))
}
