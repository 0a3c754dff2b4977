//! Several threads ask one model: requests that wait together run as one batch.
//!
//! `cargo run --release --example threads -- 8 examples/faces/happy.png`

#![allow(clippy::expect_used, reason = "an example may panic")]

use std::time::{Duration, Instant};

use anyhow::Context;
use fer::host::Host;
use fer::session::{Session, SessionOptions};
use fer::{LoadOptions, ModelRef, images};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let threads: usize = arguments
        .next()
        .context("name a number of threads")?
        .parse()?;
    let picture = images::read(arguments.next().context("name a picture")?.as_ref())?;
    let model = ModelRef::default_model()?;
    let classifier = fer::load(&model, &LoadOptions::default(), &Host::from_env())?;
    let joining = SessionOptions {
        max_wait: Duration::from_millis(2),
        ..SessionOptions::default()
    };
    let session = Session::start(classifier, joining)?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let ask = |_| {
            let (session, picture) = (session.clone(), picture.clone());
            scope.spawn(move || session.predict(picture))
        };
        let asked: Vec<_> = (0..threads).map(ask).collect();
        for thread in asked {
            let prediction = thread.join().expect("the thread does not panic")?;
            println!("{}", session.spec().labels[prediction.class]);
        }
        println!("{threads} predictions in {:?}", began.elapsed());
        Ok(())
    })
}
