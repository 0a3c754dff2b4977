//! Classifies pictures with the default model, and prints a line for each.
//!
//! `cargo run --release --example classify -- examples/faces/*.png`

use fer::host::Host;
use fer::images::sources;
use fer::stream::{Stream, StreamOptions};
use fer::{LoadOptions, ModelRef};

fn main() -> anyhow::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let model = ModelRef::default_model()?;
    let session = fer::open(&model, &LoadOptions::default(), &Host::from_env())?;
    let stream = Stream::whole(&session, StreamOptions::default());
    stream.run(&sources::list(&paths).list, &mut |seen| {
        let name = seen.item.name();
        match seen.prediction() {
            Ok(found) => {
                let label = &session.spec().labels[found.class];
                println!("{name}: {label}, {:.0} %", 100.0 * found.confidence());
            }
            Err(e) => println!("{name}: {e}"),
        }
        Ok(())
    })?;
    Ok(())
}
