//! Connections that only read, away from the async threads. Each reading is one snapshot.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::open::Opener;
use super::tx::{Shared, SqliteTx, failed};
use crate::domain::clock::Clock;
use crate::store::{Result, StoreError};

const CONNECTIONS: usize = 4;

pub(super) struct Readers {
    opener: Arc<Opener>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(opener: Arc<Opener>, clock: Arc<dyn Clock>, shared: Arc<Shared>) -> Self {
        Self { opener, clock, shared, permits: Arc::new(Semaphore::new(CONNECTIONS)), idle: Arc::default() }
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&SqliteTx<'_>) -> Result<T> + Send + 'static,
    {
        let stopped = || StoreError::Unavailable("it has stopped".to_owned());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopped())?;
        let (opener, idle) = (Arc::clone(&self.opener), Arc::clone(&self.idle));
        let (clock, shared) = (Arc::clone(&self.clock), Arc::clone(&self.shared));
        let reading = tokio::task::spawn_blocking(move || {
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = waiting.map_or_else(|| opener.reader(), Ok).map_err(failed)?;
            // Dropped, and so ended, on every way out.
            let snapshot = connection.unchecked_transaction().map_err(failed)?;
            let result = work(&SqliteTx::new(&connection, clock.now(), &shared));
            drop(snapshot);
            if !matches!(result, Err(StoreError::Unavailable(_))) {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(permit);
            result
        });
        reading.await.map_err(|_| stopped())?
    }
}
