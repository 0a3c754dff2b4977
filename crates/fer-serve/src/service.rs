//! A service: its models, its detector, and the thread that answers.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use fer_faces::Network;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::metrics::Metrics;
use crate::models::{LoadFailure, Models, Reloaded, Source};
use crate::settings::Settings;
use crate::{connections, routes};

/// A face detector that any number of threads may use.
pub type Detector = Arc<dyn Network + Send + Sync>;

/// Why a service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A model can't be loaded.
    #[error("the model {name} can't be loaded: {reason}")]
    Model {
        /// Its name in requests.
        name: String,
        /// Why.
        #[source]
        reason: LoadFailure,
    },
    /// The system has no thread or no socket for it.
    #[error("the service can't run: {0}")]
    System(#[from] io::Error),
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) models: Models,
    pub(crate) detector: Option<Detector>,
    pub(crate) admission: Admission,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the service is stopping.
    pub(crate) stop: watch::Sender<bool>,
    /// Each connection and stream holds a receiver, so that the end of the last one is seen.
    pub(crate) open: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the service is stopping.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as this.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

/// A service whose models are loaded.
pub struct Service {
    shared: Arc<Shared>,
}

/// Stops a service or reloads its models, from any thread.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Service {
    /// Loads the models, of which the first gets the requests that name none. Without a detector,
    /// only whole pictures and ready-made crops can be classified.
    ///
    /// # Errors
    /// A model can't be loaded.
    pub fn open(
        settings: Settings,
        sources: Vec<Source>,
        detector: Option<Detector>,
    ) -> Result<Self, ServeError> {
        let metrics = Arc::new(Metrics::new());
        let (limits, log) = (settings.limits, settings.log.clone());
        let models = Models::load(sources, &limits, metrics.clone(), log)
            .map_err(|(name, reason)| ServeError::Model { name, reason })?;
        Ok(Self {
            shared: Arc::new(Shared {
                admission: Admission::new(&limits),
                settings,
                models,
                detector,
                metrics,
                stop: watch::Sender::new(false),
                open: watch::Sender::new(()),
            }),
        })
    }

    /// What stops it, or reloads its models.
    pub fn control(&self) -> Control {
        Control {
            shared: self.shared.clone(),
        }
    }

    /// Answers until [`Control::stop`] is called, and what it has accepted is answered. This thread
    /// and those that decode do all but what the models' threads do.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn run(self, listener: TcpListener) -> Result<(), ServeError> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(self.shared.settings.limits.decoders.max(1) + 1)
            .thread_name("pictures")
            .build()?;
        let router = routes::router(self.shared.clone());
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            connections::accept(&self.shared, listener, router).await;
            Ok::<(), io::Error>(())
        })?;
        // A picture that is still being decoded is for nobody.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

impl Control {
    /// Stops the service: it takes no more connections, ends streams, and answers what it has
    /// accepted.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Loads the models anew whose files have changed or whose engines have stopped. No request is
    /// lost: each goes on with the model that it has. If a file can't be loaded, the model loaded
    /// before goes on. Returns when no request uses the old models any more.
    pub fn reload(&self) -> Vec<Reloaded> {
        self.shared.models.reload()
    }
}
