//! A plug-in that is loaded again after a failure, with a back-off.

use std::sync::Arc;

use kit::plug_in::Pause;
use pipeline::Events;
use tokio::sync::{Mutex, Semaphore};

use crate::call::intercept;
use crate::config::Options;
use crate::error::{Fault, PluginError};
use crate::load::{Loaded, load};
use crate::staged::Staged;

/// A plug-in. Its module is loaded for the first batch, and after a failure for the next one, so
/// that a corrected file needs no restart. Batches wait for the back-off.
pub(crate) struct Plugin {
    options: Arc<Options>,
    state: Mutex<State>,
    /// Batches at a time: one for each core, so that their memory is limited.
    places: Semaphore,
}

#[derive(Default)]
struct State {
    /// The module, unless it has failed.
    loaded: Option<Arc<Loaded>>,
    /// The back-off.
    pause: Pause,
}

impl Plugin {
    pub(crate) fn new(options: Options) -> Self {
        let places = Semaphore::new(options.env.blocking.cores().max(1));
        Self { options: Arc::new(options), state: Mutex::default(), places }
    }

    /// Passes a batch through the plug-in.
    ///
    /// # Errors
    /// The module cannot be loaded, or has a fault. Nothing of its work remains.
    pub(crate) async fn intercept(&self, events: Events) -> Result<Staged, PluginError> {
        // The semaphore is never closed; without a place the batch would pass anyway.
        let _place = self.places.acquire().await.ok();
        let loaded = self.loaded().await?;
        match intercept(&loaded, &self.options, events).await {
            Ok(staged) => {
                self.state.lock().await.pause = Pause::default();
                Ok(staged)
            }
            Err(fault) => {
                let mut state = self.state.lock().await;
                state.loaded = None;
                Err(self.failed(&mut state, fault))
            }
        }
    }

    /// Returns the module, and loads it after the back-off if necessary.
    async fn loaded(&self) -> Result<Arc<Loaded>, PluginError> {
        let mut state = self.state.lock().await;
        if let Some(loaded) = &state.loaded {
            return Ok(loaded.clone());
        }
        state.pause.ended().await;
        match load(&self.options).await {
            Ok(loaded) => Ok(state.loaded.insert(loaded).clone()),
            Err(fault) => Err(self.failed(&mut state, fault)),
        }
    }

    fn failed(&self, state: &mut State, fault: Fault) -> PluginError {
        state.pause.begin(&*self.options.env.entropy);
        PluginError { module: self.options.shown.clone(), fault }
    }
}
