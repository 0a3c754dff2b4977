use super::*;
use crate::testing::Fake;

#[test]
fn several_threads_ask_one_model() {
    let fake = Fake::new(None);
    let batches = fake.batches.clone();
    let session = fake.session();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let session = session.clone();
            scope.spawn(move || {
                for i in 0..50 {
                    let level = (thread * 50 + i) as f32 / 400.0;
                    let images = 1 + (i % 3);
                    let rows = session.classify(vec![level; images * 4]).unwrap();
                    assert_eq!(rows, [1.0 - level, level].repeat(images));
                }
            });
        }
    });
    let images: usize = batches.lock().unwrap().iter().sum();
    assert_eq!(images, 8 * (17 + 2 * 17 + 3 * 16));
}

#[test]
fn an_image_of_any_size_has_a_prediction() {
    let session = Fake::new(None).session();
    let image = Pixels {
        width: 4,
        height: 3,
        channels: 3,
        data: vec![51; 36],
    };
    let prediction = session.predict(image).unwrap();
    assert_eq!(
        (prediction.class, session.spec().labels[0].as_str()),
        (0, "dark")
    );
    assert!((prediction.probabilities[1] - 0.2).abs() < 1e-6);
}

#[test]
fn requests_that_wait_are_one_batch() {
    let fake = Fake::new(None);
    let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
    let options = SessionOptions {
        max_batch: 4,
        ..SessionOptions::default()
    };
    let session = Session::start(Box::new(fake), options).unwrap();
    let submit = |level: f32, images: usize| session.submit(vec![level; 4 * images]).unwrap();
    let running = gate.lock().unwrap();
    let first = submit(0.0, 1);
    while batches.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    // While the first request runs, the second is dropped. The others don't all fit in one
    // batch.
    drop(submit(0.5, 1));
    let tickets = [
        submit(0.25, 1),
        submit(1.0, 2),
        submit(0.75, 3),
        submit(0.5, 5),
    ];
    drop(running);
    let rows: Vec<_> = tickets.into_iter().map(|t| t.wait().unwrap()).collect();
    assert_eq!(first.wait().unwrap(), [1.0, 0.0]);
    assert_eq!(rows[0], [0.75, 0.25]);
    assert_eq!(rows[1], [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(rows[2], [0.25, 0.75].repeat(3));
    assert_eq!(rows[3], [0.5, 0.5].repeat(5));
    assert_eq!(*batches.lock().unwrap(), [1, 3, 3, 5]);
}

#[test]
fn a_failure_of_a_joined_batch_is_not_that_of_its_requests() {
    let mut fake = Fake::new(None);
    fake.fails_on = Some((1, false));
    let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
    fake.fails_once = true;
    let session = fake.session();
    let running = gate.lock().unwrap();
    let first = session.submit(vec![0.0; 4]).unwrap();
    while batches.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let others = [0.25, 1.0].map(|level| session.submit(vec![level; 4]).unwrap());
    drop(running);
    first.wait().unwrap();
    let rows = others.map(|ticket| ticket.wait().unwrap());
    assert_eq!(rows, [[0.75, 0.25], [0.0, 1.0]]);
    assert_eq!(*batches.lock().unwrap(), [1, 1, 1]);
}

#[test]
fn the_last_ticket_takes_its_request_with_it() {
    let fake = Fake::new(None);
    let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
    let session = fake.session();
    // The engine is held until the last ticket waits for its end.
    let (held, holding) = channel();
    let holder = std::thread::spawn(move || {
        let _closed = gate.lock().unwrap();
        held.send(()).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    });
    holding.recv().unwrap();
    let first = session.submit(vec![0.0; 4]).unwrap();
    while batches.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let last = session.submit(vec![1.0; 4]).unwrap();
    drop((session, first));
    drop(last);
    holder.join().unwrap();
    assert_eq!(*batches.lock().unwrap(), [1]);
}

#[test]
fn a_model_without_pixels_is_refused() {
    let mut fake = Fake::new(None);
    fake.spec.input.width = 0;
    assert!(Session::start(Box::new(fake), SessionOptions::default()).is_err());
}

#[test]
fn a_request_waits_for_others_as_long_as_it_was_told() {
    let options = SessionOptions {
        max_batch: 2,
        max_wait: Duration::from_secs(60),
        ..SessionOptions::default()
    };
    let fake = Fake::new(None);
    let batches = fake.batches.clone();
    let session = Session::start(Box::new(fake), options).unwrap();
    let tickets = [session.submit(vec![0.0; 4]), session.submit(vec![1.0; 4])];
    let rows = tickets.map(|t| t.unwrap().wait().unwrap());
    assert_eq!(rows, [[1.0, 0.0], [0.0, 1.0]]);
    assert_eq!(*batches.lock().unwrap(), [2]);
}

#[test]
fn what_can_go_wrong() {
    let mut fake = Fake::new(None);
    fake.fails_on = Some((2, false));
    let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
    let options = SessionOptions {
        queue: 1,
        max_batch: 1,
        ..SessionOptions::default()
    };
    let session = Session::start(Box::new(fake), options).unwrap();
    assert!(matches!(
        session.classify(vec![0.0; 5]),
        Err(SessionError::Input {
            values: 5,
            image: 4
        })
    ));
    assert_eq!(session.classify(Vec::new()).unwrap(), Vec::<f32>::new());
    let closed = gate.lock().unwrap();
    let running = session.submit(vec![0.0; 4]).unwrap();
    while batches.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let waiting = session.submit(vec![1.0; 4]).unwrap();
    assert!(matches!(
        session.submit(vec![0.0; 4]),
        Err(SessionError::Full { queue: 1 })
    ));
    assert!(running.wait_until(Instant::now()).is_none());
    drop(closed);
    assert_eq!(waiting.wait().unwrap(), [0.0, 1.0]);
    assert!(matches!(
        session.classify(vec![0.0; 4]),
        Err(SessionError::Engine(_))
    ));
    assert_eq!(batches.lock().unwrap().len(), 2);
}

#[test]
fn a_result_goes_to_a_function_unless_its_claim_is_dropped() {
    let fake = Fake::new(None);
    let (batches, gate) = (fake.batches.clone(), fake.gate.clone());
    let session = fake.session();
    let (sender, results) = channel();
    let submit = |level: f32| {
        let sender = sender.clone();
        let reply = move |result: Result<Vec<f32>, SessionError>| {
            sender.send(result.unwrap()).unwrap();
        };
        session.submit_then(vec![level; 4], reply).unwrap()
    };
    let running = gate.lock().unwrap();
    let first = submit(0.0);
    while batches.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    drop(submit(0.5));
    let last = submit(0.25);
    drop(running);
    assert_eq!(results.recv().unwrap(), [1.0, 0.0]);
    assert_eq!(results.recv().unwrap(), [0.75, 0.25]);
    drop((first, last, session));
    assert_eq!(*batches.lock().unwrap(), [1, 1]);
    assert!(results.try_recv().is_err());
}
