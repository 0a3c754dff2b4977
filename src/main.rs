//! The `fer` command: parses its arguments, runs one command, and turns the outcome into an exit
//! code.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

mod cli;

use std::process::ExitCode;

use fer::kernels::allocator::Reuse;

#[global_allocator]
static MEMORY: Reuse = Reuse::new();

fn main() -> ExitCode {
    // ONNX Runtime from 1.29 on reports its use to its makers, over the network, unless this is set
    // before it starts; the switch in its interface comes too late. Who wants it can set the
    // variable to 0.
    if std::env::var_os("ORT_DISABLE_TELEMETRY").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    }
    // What is read from a checkpoint lies on Burn's default device until the first step takes it to
    // the run's: the CPU, whatever this build and this machine have. SAFETY: no other thread runs
    // yet.
    unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    cli::main()
}
