//! Load for a server: sends files as bodies over kept connections and measures the answers.
//!
//! ```sh
//! cargo run --release -p fer-serve --example load -- 127.0.0.1:8080 /v1/classify \
//!     --clients 16 --seconds 10 examples/faces/*.png
//! ```
//!
//! With `--clients N`, each client sends its next request when the last one is answered (closed
//! loop). With `--rate R`, requests begin at that rate whatever the server does (open loop), and a
//! time counts from when its request should have begun. The result is one line of JSON.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most connections of an open loop. A server that needs more is too slow for the rate.
const CONNECTIONS: usize = 1024;

/// What is asked for.
struct Plan {
    address: String,
    requests: Vec<Bytes>,
    clients: usize,
    rate: Option<f64>,
    time: Duration,
}

/// What came of it.
#[derive(Default)]
struct Results {
    /// Seconds of each request that was answered with 200.
    times: Vec<f64>,
    errors: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plan = Arc::new(plan(std::env::args().skip(1).collect())?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let mut results = runtime.block_on(run(&plan))?;
    let seconds = began.elapsed().as_secs_f64();
    results.times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = results.times.len().saturating_sub(1);
        let time = results.times.get((last as f64 * share).round() as usize);
        time.map_or(f64::NAN, |time| time * 1000.0)
    };
    println!(
        "{{\"requests\": {}, \"errors\": {}, \"per_second\": {:.1}, \"p50_ms\": {:.2}, \
         \"p99_ms\": {:.2}, \"max_ms\": {:.2}}}",
        results.times.len(),
        results.errors,
        results.times.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

fn plan(arguments: Vec<String>) -> Result<Plan, Box<dyn std::error::Error>> {
    let mut arguments = VecDeque::from(arguments);
    let address = arguments.pop_front().ok_or("name the address")?;
    let path = arguments.pop_front().ok_or("name the path")?;
    let (mut clients, mut rate, mut seconds, mut files) = (1, None, 10.0, Vec::new());
    while let Some(argument) = arguments.pop_front() {
        let mut value = || arguments.pop_front().ok_or("an option lacks its value");
        match argument.as_str() {
            "--clients" => clients = value()?.parse()?,
            "--rate" => rate = Some(value()?.parse()?),
            "--seconds" => seconds = value()?.parse()?,
            _ => files.push(argument),
        }
    }
    let request = |file: String| -> io::Result<Bytes> {
        let body = std::fs::read(file)?;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: image/png\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        Ok(request.into())
    };
    let requests = files
        .into_iter()
        .map(request)
        .collect::<Result<Vec<_>, _>>()?;
    if requests.is_empty() {
        return Err("name files to send".into());
    }
    Ok(Plan {
        address,
        requests,
        clients,
        rate,
        time: Duration::from_secs_f64(seconds),
    })
}

async fn run(plan: &Arc<Plan>) -> io::Result<Results> {
    let results: Arc<Mutex<Results>> = Arc::default();
    let began = Instant::now();
    let mut tasks = Vec::new();
    match plan.rate {
        None => {
            for client in 0..plan.clients {
                let (plan, results) = (plan.clone(), results.clone());
                tasks.push(tokio::spawn(async move {
                    let mut connection = None;
                    let mut number = client;
                    while began.elapsed() < plan.time {
                        let start = Instant::now();
                        let answered = once(&plan, number, &mut connection).await;
                        count(&results, start, answered);
                        number += 1;
                    }
                }));
            }
        }
        Some(rate) => {
            let idle: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
            let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
            for number in 0..(rate * plan.time.as_secs_f64()) as usize {
                let start = began + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(start.into()).await;
                let (plan, results) = (plan.clone(), results.clone());
                let (idle, room) = (idle.clone(), room.clone());
                tasks.push(tokio::spawn(async move {
                    let _room = room.acquire().await;
                    let mut connection = locked(&idle).pop();
                    let answered = once(&plan, number, &mut connection).await;
                    count(&results, start, answered);
                    locked(&idle).extend(connection);
                }));
            }
        }
    }
    for task in tasks {
        task.await?;
    }
    Ok(std::mem::take(&mut *locked(&results)))
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(results: &Mutex<Results>, start: Instant, answered: io::Result<bool>) {
    let mut results = locked(results);
    match answered {
        Ok(true) => results.times.push(start.elapsed().as_secs_f64()),
        _ => results.errors += 1,
    }
}

/// Whether the server has not closed a connection that it owes nothing.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends one request and reads its response; whether its status is 200.
async fn once(plan: &Plan, number: usize, connection: &mut Option<TcpStream>) -> io::Result<bool> {
    let mut stream = match connection.take() {
        Some(stream) if is_open(&stream) => stream,
        _ => {
            let stream = TcpStream::connect(&plan.address).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    let request = &plan.requests[number % plan.requests.len()];
    stream.write_all(request).await?;
    let mut read = Vec::with_capacity(1024);
    let (head, length) = loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            let length: usize = length.and_then(|l| l.parse().ok()).unwrap_or(0);
            break (head, end + 4 + length);
        }
    };
    while read.len() < length {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    *connection = Some(stream);
    Ok(head.starts_with("http/1.1 200"))
}
