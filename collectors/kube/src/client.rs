//! A client that hides nothing.

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::KubeConfig;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error(transparent)]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a kubeconfig nor a pod's account was found.
    #[error("neither a kubeconfig nor a pod's account: {0}")]
    Nowhere(String),
    /// The client could not be made of the configuration.
    #[error(transparent)]
    Client(#[from] kube::Error),
}

/// Makes a client for a configuration; asks the server nothing yet.
///
/// The client's own retries are off: they hid a constant 503 for minutes.
///
/// # Errors
/// [`ConnectError`]
pub async fn connect(config: &KubeConfig) -> Result<Client, ConnectError> {
    let options =
        KubeConfigOptions { context: config.context.clone(), ..KubeConfigOptions::default() };
    let mut found = match &config.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await?
        }
        None if config.context.is_some() => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await.map_err(|error| ConnectError::Nowhere(error.to_string()))?,
    };
    found.default_retry = false;
    found.read_timeout = Some(config.timing.watch + config.timing.watch_grace);
    // Else the time that a connection lay idle counts as silence of the next response.
    found.reset_reader_on_write = true;
    Ok(Client::try_from(found)?)
}
