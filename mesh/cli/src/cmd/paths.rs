//! Where the socket and the store are.

use std::{path::PathBuf, sync::Arc};

use tapio_node::{Paths, StoryStore, default_paths};

use crate::out::errln;

/// Where the socket and the store are, if not where they usually are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PathArgs {
    /// Unix socket of `tapio up`.
    #[arg(long, env = "TAPIO_SOCKET", hide_env_values = true, global = true)]
    socket: Option<PathBuf>,
    /// File that stories are kept in.
    #[arg(long, env = "TAPIO_STORE", hide_env_values = true, global = true)]
    store: Option<PathBuf>,
}

impl PathArgs {
    /// Returns the paths in force.
    pub(crate) fn paths(&self) -> Paths {
        let default = default_paths(&env);
        Paths {
            socket: self.socket.clone().unwrap_or(default.socket),
            store: self.store.clone().or(default.store),
        }
    }

    /// Opens the store; one that cannot be opened is said, and stories then end with the process.
    /// Returns whether they will be there afterwards.
    pub(crate) fn open_store(&self) -> anyhow::Result<(Arc<StoryStore>, bool)> {
        let opened = self.paths().store.map(|path| StoryStore::open(&path));
        let store = match opened {
            Some(Ok(store)) => return Ok((Arc::new(store), true)),
            Some(Err(error)) => {
                errln(format_args!("tapio: {error}; stories of this run are not kept"));
                StoryStore::in_memory()?
            }
            None => StoryStore::in_memory()?,
        };
        Ok((Arc::new(store), false))
    }
}

#[expect(clippy::disallowed_methods, reason = "a command is where the environment is read")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
