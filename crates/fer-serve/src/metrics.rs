//! Counters for Prometheus, in the OpenMetrics text format.

use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A label and its value; the values are of small sets: routes, statuses, names of models.
type Labels = Vec<(&'static str, String)>;

/// What a service counts.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
    batches: Family<Labels, Histogram, fn() -> Histogram>,
    batch_seconds: Family<Labels, Histogram, fn() -> Histogram>,
    pictures: Counter,
    unreadable: Counter,
    faces: Counter,
    frames: Counter,
    frames_dropped: Counter,
    model_errors: Family<Labels, Counter>,
    reloads: Family<Labels, Counter>,
    refused_connections: Counter,
    connections: Gauge,
    queue: Gauge,
    queue_bytes: Gauge,
    streams: Gauge,
}

/// From half a millisecond to 16 seconds.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

/// From 1 to 512 images.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 10))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(times),
            batches: Family::new_with_constructor(sizes),
            batch_seconds: Family::new_with_constructor(times),
            pictures: Counter::default(),
            unreadable: Counter::default(),
            faces: Counter::default(),
            frames: Counter::default(),
            frames_dropped: Counter::default(),
            model_errors: Family::default(),
            reloads: Family::default(),
            refused_connections: Counter::default(),
            connections: Gauge::default(),
            queue: Gauge::default(),
            queue_bytes: Gauge::default(),
            streams: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("fer_requests", "Requests", self.requests.clone());
        let help = "Seconds from a request's head to its response";
        r.register("fer_request_seconds", help, self.seconds.clone());
        let help = "Images in a batch of the model";
        r.register("fer_batch_images", help, self.batches.clone());
        let help = "Seconds of a batch in the model";
        r.register("fer_batch_seconds", help, self.batch_seconds.clone());
        r.register("fer_pictures", "Pictures received", self.pictures.clone());
        let help = "Pictures that could not be read";
        r.register("fer_pictures_unreadable", help, self.unreadable.clone());
        r.register("fer_faces", "Faces found", self.faces.clone());
        r.register("fer_frames", "Frames of streams", self.frames.clone());
        let help = "Frames of streams that a newer one replaced";
        r.register("fer_frames_dropped", help, self.frames_dropped.clone());
        let help = "Batches that failed in the model";
        r.register("fer_model_errors", help, self.model_errors.clone());
        r.register("fer_reloads", "Models reloaded", self.reloads.clone());
        let help = "Connections above the limit";
        r.register(
            "fer_connections_refused",
            help,
            self.refused_connections.clone(),
        );
        r.register(
            "fer_connections",
            "Open connections",
            self.connections.clone(),
        );
        r.register("fer_queue", "Requests that wait or run", self.queue.clone());
        let help = "Bytes of bodies and tensors in memory";
        r.register("fer_queue_bytes", help, self.queue_bytes.clone());
        r.register(
            "fer_streams",
            "Open streams of frames",
            self.streams.clone(),
        );
    }

    /// A request to a route ended with a status.
    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let route = ("route", route.to_owned());
        let labels = vec![route.clone(), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        let seconds = self.seconds.get_or_create(&vec![route]);
        seconds.observe(took.as_secs_f64());
    }

    /// A model ran a batch, or failed to.
    pub(crate) fn batch(&self, model: &str, images: usize, took: Duration, failed: bool) {
        let labels = vec![("model", model.to_owned())];
        if failed {
            self.model_errors.get_or_create(&labels).inc();
            return;
        }
        self.batches.get_or_create(&labels).observe(images as f64);
        let seconds = self.batch_seconds.get_or_create(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// A picture was read and so many faces were found in it, or it could not be read.
    pub(crate) fn picture(&self, faces: Option<usize>) {
        self.pictures.inc();
        match faces {
            Some(faces) => drop(self.faces.inc_by(faces as u64)),
            None => drop(self.unreadable.inc()),
        }
    }

    /// A frame arrived; whether it took the place of one that waited.
    pub(crate) fn frame(&self, replaced: bool) {
        self.frames.inc();
        self.frames_dropped.inc_by(u64::from(replaced));
    }

    /// A model was loaded anew, or could not be.
    pub(crate) fn reload(&self, model: &str, failed: bool) {
        let result = if failed { "failed" } else { "done" };
        let labels = vec![("model", model.to_owned()), ("result", result.into())];
        self.reloads.get_or_create(&labels).inc();
    }

    /// A connection is open until the result is dropped.
    pub(crate) fn connection(&self) -> Open {
        Open::new(&self.connections)
    }

    /// A stream is open until the result is dropped.
    pub(crate) fn stream(&self) -> Open {
        Open::new(&self.streams)
    }

    pub(crate) fn refused_connection(&self) {
        self.refused_connections.inc();
    }

    /// All of it as text, with the requests in the queue and the bytes that they hold.
    pub(crate) fn text(&self, waiting: usize, held: usize) -> String {
        self.queue.set(waiting as i64);
        self.queue_bytes.set(held as i64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// Something that is counted while it is open.
pub(crate) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
