//! The end of a service, and models that are loaded anew.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fer_core::classifier::Classifier;
use fer_serve::{LoadFailure, Service, Settings, Source};

use crate::client::{connect, get, post, request, response};
use crate::server::{Fake, Server, Switches, picture, until};

const PATH: &str = "/v1/classify?faces=never";

fn send(server: &Server) -> TcpStream {
    let mut stream = connect(server.address);
    let bytes = request(
        "POST",
        PATH,
        &[("content-type", "image/png")],
        &picture(2, 2, 255),
    );
    stream.write_all(&bytes).unwrap();
    stream
}

#[test]
fn what_was_accepted_is_answered_before_the_end() {
    let mut server = Server::start();
    let closed = server.switches.gate.lock().unwrap();
    let accepted: Vec<_> = (0..10).map(|_| send(&server)).collect();
    until("all wait", || {
        let metrics = get(server.address, "/metrics").body;
        String::from_utf8(metrics).unwrap().contains("fer_queue 10")
    });
    let mut idle = connect(server.address);
    idle.write_all(&request("GET", "/readyz", &[], b""))
        .unwrap();
    response(&mut idle).unwrap().expect(200);
    server.control.stop();
    until("nobody new gets in", || {
        TcpStream::connect(server.address).is_err()
    });
    drop(closed);
    for mut stream in accepted {
        let found = response(&mut stream).unwrap().expect(200);
        assert_eq!(found.header("connection"), Some("close"));
    }
    assert!(response(&mut idle).is_none());
    server.join();
}

#[test]
fn an_end_does_not_wait_longer_than_its_time() {
    let mut server = Server::with(|s| s.limits.drain = std::time::Duration::from_millis(100));
    let gate = server.switches.gate.clone();
    let closed = gate.lock().unwrap();
    let mut stream = send(&server);
    until("it runs", || server.batches() == [1]);
    server.control.stop();
    let waiting = std::thread::spawn(move || response(&mut stream).is_none());
    assert!(waiting.join().unwrap());
    drop(closed);
    server.join();
}

#[test]
fn a_model_is_loaded_anew_without_a_lost_request() {
    let switches = Switches::default();
    // The next load: a factor, a failure, or nothing new.
    let next: Arc<Mutex<Result<Option<f32>, &str>>> = Arc::new(Mutex::new(Ok(Some(1.0))));
    let (ask, fakes) = (next.clone(), switches.clone());
    let load = move |_| -> Result<Option<Box<dyn Classifier>>, LoadFailure> {
        let factor = (*ask.lock().unwrap())?;
        Ok(factor.map(|factor| Box::new(Fake::new(&fakes, factor)) as _))
    };
    let source = Source {
        name: "m".into(),
        load: Box::new(load),
    };
    let server = Server::of(vec![source], &switches, |_| {});
    let happy = || {
        let found = post(server.address, PATH, "image/png", &picture(2, 2, 255)).expect(200);
        found.json()["probabilities"]["happy"].as_f64().unwrap()
    };
    assert_eq!(happy(), 1.0);

    *next.lock().unwrap() = Err("the file is damaged");
    let failed = server.control.reload();
    assert_eq!(
        failed[0].outcome.as_ref().unwrap_err().to_string(),
        "the file is damaged"
    );
    *next.lock().unwrap() = Ok(None);
    assert!(!server.control.reload()[0].outcome.as_ref().unwrap());
    assert_eq!(happy(), 1.0);
    // A model that loads and does not run is none.
    *next.lock().unwrap() = Ok(Some(0.5));
    switches.fails.store(true, Ordering::Relaxed);
    assert!(server.control.reload()[0].outcome.is_err());
    switches.fails.store(false, Ordering::Relaxed);
    assert_eq!(happy(), 1.0);

    // Under load, again and again.
    let answered = AtomicUsize::new(0);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let found = happy();
                    assert!([1.0, 0.5].contains(&found), "{found}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..20 {
            let factor = if round % 2 == 0 { 0.5 } else { 1.0 };
            *next.lock().unwrap() = Ok(Some(factor));
            assert!(*server.control.reload()[0].outcome.as_ref().unwrap());
            let before = answered.load(Ordering::Relaxed);
            until("requests go on", || {
                answered.load(Ordering::Relaxed) > before + 20
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let metrics = String::from_utf8(get(server.address, "/metrics").body).unwrap();
    for line in [
        "fer_reloads_total{model=\"m\",result=\"done\"} 20",
        "fer_reloads_total{model=\"m\",result=\"failed\"} 2",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn a_load_that_panics_is_a_failed_one() {
    let switches = Switches::default();
    let (mut loads, fakes) = (0, switches.clone());
    let source = Source {
        name: "m".into(),
        load: Box::new(move |_| {
            loads += 1;
            assert_ne!(loads, 2, "a damaged file");
            Ok(Some(Box::new(Fake::new(&fakes, 1.0)) as _))
        }),
    };
    let server = Server::of(vec![source], &switches, |_| {});
    let failed = server.control.reload().remove(0).outcome.unwrap_err();
    assert!(failed.to_string().contains("a damaged file"), "{failed}");
    post(server.address, PATH, "image/png", &picture(2, 2, 255)).expect(200);
    assert!(server.control.reload()[0].outcome.as_ref().unwrap());
    post(server.address, PATH, "image/png", &picture(2, 2, 255)).expect(200);
}

#[test]
fn a_service_whose_engine_stopped_is_not_ready_until_it_is_loaded_anew() {
    let switches = Switches::default();
    let (mut loaded, fakes) = (false, switches.clone());
    let source = Source {
        name: "m".into(),
        load: Box::new(move |all_the_same| {
            let first = !std::mem::replace(&mut loaded, true);
            let fake = (first || all_the_same).then(|| Fake::new(&fakes, 1.0));
            Ok(fake.map(|fake| Box::new(fake) as _))
        }),
    };
    let server = Server::of(vec![source], &switches, |_| {});
    let paths = ["/readyz", "/v2/health/ready", "/v2/models/m/ready"];
    let ready = |status: u16| {
        for path in paths {
            get(server.address, path).expect(status);
        }
    };
    ready(200);
    switches.panics.store(true, Ordering::Relaxed);
    post(server.address, PATH, "image/png", &picture(2, 2, 255)).expect(502);
    until("the thread has ended", || {
        get(server.address, "/readyz").status == 503
    });
    ready(503);
    let said = String::from_utf8(get(server.address, "/readyz").body).unwrap();
    assert!(said.contains("the model m has stopped"), "{said}");
    get(server.address, "/healthz").expect(200);

    switches.panics.store(false, Ordering::Relaxed);
    assert!(server.control.reload()[0].outcome.as_ref().unwrap());
    ready(200);
    post(server.address, PATH, "image/png", &picture(2, 2, 255)).expect(200);
    assert!(!server.control.reload()[0].outcome.as_ref().unwrap());
}

#[test]
fn a_model_that_can_t_be_loaded_is_named() {
    let source = Source {
        name: "broken".into(),
        load: Box::new(|_| Err("no such file".into())),
    };
    let error = Service::open(Settings::default(), vec![source], None)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the model broken can't be loaded: no such file"
    );
    assert!(Service::open(Settings::default(), Vec::new(), None).is_err());
}
