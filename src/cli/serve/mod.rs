//! `fer serve`: models behind HTTP, until a signal ends it.

mod models;

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fer::classifier::Classifier;
use fer::faces::{Detector, DetectorRef};
use fer::host::Host;
use fer_serve::{Access, Control, Limits, Reloaded, Service, Settings, Token};

use self::models::Offered;
use super::model_args::{EngineArgs, EngineChoice, announce};
use super::{Status, advice, faces, signals};

/// The shortest token, in characters.
const SHORTEST_TOKEN: usize = 16;

#[derive(clap::Args)]
pub struct Args {
    /// A model: ONNX file, run folder or checkpoint, or built-in model; NAME= before it is its name
    /// in requests, @ENGINE[:PROVIDER[:DEVICE]] after it what runs it (repeatable; requests that
    /// name none get the first) [default: the first built-in one].
    #[arg(short, long, value_name = "[NAME=]MODEL[@ENGINE]")]
    model: Vec<String>,

    /// Address and port. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: String,

    /// Ask for this token, of at least 16 characters, in `Authorization: Bearer TOKEN`. On another
    /// address than the machine's own, a token or --no-auth is needed.
    #[arg(
        long,
        env = "FER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        conflicts_with = "no_auth"
    )]
    token: Option<String>,

    /// Answer whoever reaches the address.
    #[arg(long)]
    no_auth: bool,

    /// A name of this machine in addresses, such as faces.example.org (repeatable). Without it,
    /// requests must be for localhost or an IP address.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// An origin whose web pages may use the service, such as https://example.org (repeatable).
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,

    /// auto runs a built-in model as it is compiled in, other ONNX files in ONNX Runtime.
    #[arg(long, default_value_t, value_name = "auto|ort|burn")]
    engine: EngineChoice,

    #[command(flatten)]
    on: EngineArgs,

    /// Another detector: an ONNX export of YuNet [default: the built-in one].
    #[arg(long, value_name = "FILE")]
    detector: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,

    /// Print only errors on stderr.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Images in a batch, of requests that wait at the same time.
    #[arg(long, default_value_t = Limits::default().max_batch, value_name = "N",
        value_parser = at_least_one)]
    max_batch: usize,

    /// Milliseconds for which a batch waits for more images. With 0, a batch is what has come while
    /// the one before ran.
    #[arg(long, default_value_t = 0, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(..=10_000))]
    max_wait: u64,

    /// Requests that wait or run; more get status 503.
    #[arg(long, default_value_t = Limits::default().queue, value_name = "N",
        value_parser = at_least_one)]
    queue: usize,

    /// MiB of all requests in memory; more get status 503.
    #[arg(long, default_value_t = Limits::default().queue_bytes >> 20, value_name = "MIB",
        value_parser = clap::value_parser!(u32).range(1..4096))]
    queue_bytes: u32,

    /// Seconds that a request may take once it has arrived.
    #[arg(long, default_value_t = Limits::default().deadline.as_secs(), value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    deadline: u64,

    /// MiB of a request.
    #[arg(long, default_value_t = Limits::default().body >> 20, value_name = "MIB",
        value_parser = at_least_one)]
    max_body: usize,

    /// Megapixels of a picture, at most 100.
    #[arg(long, default_value_t = Limits::default().pixels / 1_000_000, value_name = "MP",
        value_parser = clap::value_parser!(u64).range(1..=100))]
    max_pixels: u64,

    /// Pictures in a request.
    #[arg(long, default_value_t = Limits::default().files, value_name = "N",
        value_parser = at_least_one)]
    max_files: usize,

    /// Connections; more get status 503.
    #[arg(long, default_value_t = Limits::default().connections, value_name = "N",
        value_parser = at_least_one)]
    max_connections: usize,

    /// Streams of frames; more get status 503.
    #[arg(long, default_value_t = Limits::default().streams, value_name = "N",
        value_parser = at_least_one)]
    max_streams: usize,

    /// Seconds that requests may go on after SIGTERM.
    #[arg(long, default_value_t = Limits::default().drain.as_secs(), value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(..=3600))]
    drain: u64,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1 << 20).contains(&number) => Ok(number),
        _ => Err(format!("'{text}' is not a number from 1 to {}", 1 << 20)),
    }
}

impl LimitArgs {
    /// Fails if no request of the largest size that is allowed could ever get in.
    fn check(&self) -> Result<()> {
        if self.max_body > self.queue_bytes as usize {
            bail!(
                "--max-body {} is above --queue-bytes {}, the MiB of all requests",
                self.max_body,
                self.queue_bytes
            );
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            max_batch: self.max_batch,
            max_wait: Duration::from_millis(self.max_wait),
            queue: self.queue,
            queue_bytes: self.queue_bytes << 20,
            deadline: Duration::from_secs(self.deadline),
            body: self.max_body << 20,
            pixels: self.max_pixels * 1_000_000,
            files: self.max_files,
            connections: self.max_connections,
            streams: self.max_streams,
            drain: Duration::from_secs(self.drain),
            ..Limits::default()
        }
    }
}

pub fn run(args: Args, host: &Host) -> Result<Status> {
    let address = address(&args.listen)?;
    let access = access(&args, address.ip())?;
    for host in &args.allow_host {
        check_host(host)?;
    }
    for origin in &args.allow_origin {
        check_origin(origin)?;
    }
    args.limits.check()?;
    let offered = Offered::parse(&args.model, args.engine, &args.on)?;
    let limits = args.limits.limits();
    more_files(limits.connections);
    // Before the models are loaded, so that an address that is taken is said at once.
    let listener =
        TcpListener::bind(address).with_context(|| format!("can't listen on {address}"))?;
    let address = listener.local_addr().context("the socket has no address")?;

    let which = match &args.detector {
        Some(path) => DetectorRef::Onnx(path.clone()),
        None => DetectorRef::Builtin,
    };
    let options = args.on.options(args.engine)?;
    let detector = Detector::load(&which, &options.backend, options.threads, host)?;
    let quiet = args.quiet;
    let said = move |classifier: &dyn Classifier| {
        if quiet {
            return;
        }
        announce(classifier.description());
        if classifier.spec().reads_faces() {
            faces::announce(classifier.spec());
        }
    };
    let sources = offered.sources(host, said)?;
    let settings = Settings {
        access,
        hosts: args.allow_host.clone(),
        origins: args.allow_origin.clone(),
        limits,
        log: Arc::new(|line| super::say(line)),
    };
    let service = Service::open(settings, sources, Some(Arc::new(detector)))?;
    let control = service.control();
    let stop = control.clone();
    signals::on_stop(move || {
        if !quiet {
            super::say("answering what was accepted, then ending; once more to end at once");
        }
        stop.stop();
    });
    signals::on_hangup(move || report(&control)).context("can't listen for signals")?;
    if !quiet {
        super::say(format_args!("listening on http://{address}"));
    }
    service.run(listener)?;
    Ok(Status::Done)
}

/// Loads changed models and says what became of them.
fn report(control: &Control) {
    for Reloaded { name, outcome } in control.reload() {
        match outcome {
            Ok(true) => super::say(format_args!("{name}: loaded anew")),
            Ok(false) => super::say(format_args!("{name}: its file has not changed")),
            Err(error) => super::say(format_args!(
                "{name}: can't be loaded anew, so the one before goes on: {}",
                advice::with(&*error)
            )),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    let found = text
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    found.with_context(|| {
        format!("--listen {text} is not an address and a port, such as 127.0.0.1:8080")
    })
}

fn access(args: &Args, ip: IpAddr) -> Result<Access> {
    let Some(token) = &args.token else {
        if !ip.is_loopback() && !args.no_auth {
            bail!(
                "--listen {} lets other machines in: ask them for a token (--token, or FER_TOKEN \
                 in the environment), or let in whoever comes (--no-auth)",
                args.listen
            );
        }
        return Ok(Access::Open);
    };
    if token.chars().count() < SHORTEST_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        bail!(
            "--token needs at least {SHORTEST_TOKEN} ASCII characters without spaces; `openssl \
             rand -hex 16` makes one"
        );
    }
    if !ip.is_loopback() {
        super::say(
            "the token travels unencrypted; put a proxy with TLS, such as Caddy or nginx, before \
             this address (docs/serving.md)",
        );
    }
    Ok(Access::Token(Token::new(token)))
}

/// Names are compared without a port.
fn check_host(host: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(plain) {
        bail!("--allow-host {host} is not a name without a port, such as faces.example.org");
    }
    Ok(())
}

/// Origins are compared as text, so they have to be as browsers write them.
fn check_origin(origin: &str) -> Result<()> {
    let authority = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    let plain = |text: &str| !text.is_empty() && !text.contains(['/', '*', '?', '#', '@', ' ']);
    if !authority.is_some_and(plain) || origin.chars().any(|c| c.is_ascii_uppercase()) {
        bail!("--allow-origin {origin} is not an origin such as https://example.org");
    }
    Ok(())
}

/// Lets the process have as many files open as its connections need, if the system allows it.
#[cfg(unix)]
fn more_files(connections: usize) {
    let wanted = connections as libc::rlim_t + 256;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure lives as long as the call, which fills it.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known && limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        // SAFETY: as above; the call reads it. If it fails, connections above the limit wait.
        let _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

#[cfg(not(unix))]
fn more_files(_: usize) {}
