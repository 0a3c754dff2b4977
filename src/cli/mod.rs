//! The command line: arguments, one module per command, and exit codes (0 done, 1 done in part or
//! not equal, 2 nothing done).

// The doc comments of arguments are their help, and no page.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags)]

mod advice;
mod completions;
mod convert;
#[cfg(feature = "train")]
mod data;
#[cfg(feature = "train")]
mod data_crop;
mod doctor;
#[cfg(feature = "train")]
mod epochs;
#[cfg(feature = "train")]
mod eval;
#[cfg(feature = "train")]
mod export;
mod faces;
mod infer;
mod items;
#[cfg(feature = "ort")]
mod layers;
mod man;
mod model_args;
mod output;
#[cfg(feature = "ort")]
mod parity;
mod partial;
#[cfg(feature = "train")]
mod pictures;
mod progress;
#[cfg(all(feature = "ort", feature = "train"))]
mod quantize;
#[cfg(feature = "ort")]
mod runtime;
#[cfg(feature = "serve")]
mod serve;
mod signals;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "video")]
mod watch;
#[cfg(feature = "train")]
mod writers;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use fer::host::Host;
use fer::names::Tally;
use fer::report::printable;

/// Train, export and run facial-emotion classifiers, and check that their predictions equal
/// Keras's.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Classify images, or the frames of a video.
    #[command(
        after_help = "Exit code: 0 if all images were read, 1 if some were not (their records say \
            why), 2 if nothing ran."
    )]
    Infer(infer::Args),
    /// Answer requests over HTTP, and show a page to try it on.
    #[command(
        after_help = "SIGTERM and Ctrl-C end it when what it has accepted is answered; SIGHUP loads \
            models anew whose files have changed. Exit code: 0 if it ended so, 2 if it could not \
            start."
    )]
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Follow faces in a video, a stream or a camera, and write a record a frame.
    #[command(
        after_help = "Exit code: 0 if the source was read to its end, or a live one until Ctrl-C; \
            1 if frames failed, a file was not finished or a source was lost; 2 if nothing ran."
    )]
    #[cfg(feature = "video")]
    Watch(Box<watch::Args>),
    /// Check that two models, engines or providers, or an engine and Keras, give the same
    /// predictions.
    #[command(
        after_help = "Exit code: 0 if every comparison holds, 1 if one does not, 2 if nothing \
            could be compared."
    )]
    #[cfg(feature = "ort")]
    Parity(parity::Args),
    /// Train a network.
    #[command(
        after_help = "Exit code: 0 if the run is done, 1 if it was interrupted and can be resumed, \
            2 on an error; the last checkpoint stays."
    )]
    #[cfg(feature = "train")]
    Train(train::Args),
    /// Evaluate a model on labeled images.
    #[command(
        after_help = "Exit code: 0 if done, 1 if the accuracy is below --min-accuracy or images \
            could not be read, 2 if nothing was measured."
    )]
    #[cfg(feature = "train")]
    Eval(eval::Args),
    /// Export a trained network as an ONNX file, and check the file against it.
    #[command(
        after_help = "Exit code: 0 if the file was written, 2 if not; a file whose outputs differ \
            from the network's is not kept."
    )]
    #[cfg(feature = "train")]
    Export(export::Args),
    /// Convert a Keras model to an ONNX file, without Python.
    #[command(
        after_help = "Exit code: 0 if the file was written, 2 if not: the model has layers that \
            can't be converted, which are named, or the file does not run."
    )]
    Convert(convert::Args),
    /// Quantize a model to 8-bit integers, and measure it before it is written.
    #[command(
        after_help = "Exit code: 0 if the file was written, 1 if too much was lost and none was \
            written, 2 if the model can't be quantized."
    )]
    #[cfg(all(feature = "ort", feature = "train"))]
    Quantize(quantize::Args),
    /// Check, cut out, draw and preview data sets.
    #[command(subcommand)]
    #[cfg(feature = "train")]
    Data(data::Command),
    /// Show what this machine can run: ONNX Runtime, providers that start, GPUs, built-in models.
    Doctor(doctor::Args),
    /// Install ONNX Runtime's library.
    #[cfg(feature = "ort")]
    Runtime(runtime::Args),
    /// Print a shell's completion script for fer.
    #[command(after_help = completions::WHERE)]
    Completions(completions::Args),
    /// Write man pages, one for each command.
    #[command(hide = true)]
    Man(man::Args),
}

/// How a command ended.
enum Status {
    /// Everything was done.
    Done,
    /// Some inputs failed, or a check did not hold.
    Failed,
}

/// Runs the program with these arguments, the first of which is its name, and returns its exit
/// code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !fer::panics::are_caught() {
            hook(info);
        }
    }));
    let host = Host::from_env();
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(message) => {
            // Help is a message too. If it can't be printed, nothing can be.
            let _ = message.print();
            return u8::try_from(message.exit_code()).unwrap_or(2);
        }
    };
    let result = signals::handle().and_then(|()| dispatch(command, &host));
    match result {
        Ok(Status::Done) => 0,
        Ok(Status::Failed) => 1,
        Err(e) if is_broken_pipe(&e) => 0,
        Err(e) => {
            say(format_args!("error: {}", one_line(&e)));
            2
        }
    }
}

fn dispatch(command: Command, host: &Host) -> Result<Status> {
    match command {
        Command::Infer(args) => infer::run(args, host),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args, host),
        #[cfg(feature = "video")]
        Command::Watch(args) => watch::run(*args, host),
        #[cfg(feature = "ort")]
        Command::Parity(args) => parity::run(args, host),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(&args, host),
        #[cfg(feature = "train")]
        Command::Eval(args) => eval::run(&args, host),
        #[cfg(feature = "train")]
        Command::Export(args) => export::run(args, host),
        Command::Convert(args) => convert::run(args, host),
        #[cfg(all(feature = "ort", feature = "train"))]
        Command::Quantize(args) => quantize::run(args, host),
        #[cfg(feature = "train")]
        Command::Data(command) => data::run(command, host),
        Command::Doctor(args) => doctor::run(&args, host),
        #[cfg(feature = "ort")]
        Command::Runtime(args) => runtime::run(args, host),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

/// The reader of the output has closed it, as `head` does. That is not an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|e| {
        let io = e.downcast_ref::<std::io::Error>();
        io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// An error with its causes, except those whose text it already contains, and the advice if there
/// is one.
fn one_line(error: &anyhow::Error) -> String {
    let line = error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |line, cause| match line.as_str() {
            "" => cause,
            _ if line.contains(&cause) => line,
            _ => format!("{line}: {cause}"),
        });
    match advice::of(error) {
        Some(advice) => format!("{line}; {advice}"),
        None => line,
    }
}

/// Prints a message on stderr, one line. If stderr is closed, the work continues.
fn say(text: impl Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stderr(), "fer: {}", printable(&text));
}

/// Says which files of folders were not read, if there are any.
fn say_passed_over(files: &Tally) {
    match files.count {
        0 => {}
        1 => say(format_args!(
            "1 file was not read, as its name does not end like an image's: {files}"
        )),
        n => say(format_args!(
            "{n} files were not read, as their names do not end like an image's: {files}"
        )),
    }
}

/// Says which 16-bit images are read as having fewer bits, if there are any.
fn say_guessed(images: &Tally) {
    match images.count {
        0 => {}
        1 => say(format_args!(
            "a 16-bit image has only values of fewer bits and is read as such, which is a guess: \
             {images}"
        )),
        n => say(format_args!(
            "{n} 16-bit images have only values of fewer bits and are read as such, which is a \
             guess: {images}"
        )),
    }
}
