//! Where the socket and the store are unless somebody says otherwise.

use std::path::PathBuf;

/// Where the socket and the store are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The Unix socket of `tapio up`.
    pub socket: PathBuf,
    /// The story store; `None` where no home is known, and stories are kept in memory.
    pub store: Option<PathBuf>,
}

/// Returns the paths that this environment asks for.
#[must_use]
pub fn default_paths(env: &dyn Fn(&str) -> Option<String>) -> Paths {
    // The XDG base directory specification: what is empty or not absolute counts as unset.
    let dir = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let socket = dir("XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/tmp/tapio-{}.sock", rustix::process::getuid().as_raw())),
        |dir| dir.join("tapio.sock"),
    );
    let state = dir("XDG_STATE_HOME").or_else(|| dir("HOME").map(|home| home.join(".local/state")));
    Paths { socket, store: state.map(|dir| dir.join("tapio/stories.db")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Env = &'static [(&'static str, &'static str)];

    #[test]
    fn paths_follow_the_environment() {
        let uid = rustix::process::getuid().as_raw();
        let shared = format!("/tmp/tapio-{uid}.sock");
        let cases: [(Env, &str, Option<&str>); 5] = [
            (&[], &shared, None),
            (&[("HOME", "/home/a")], &shared, Some("/home/a/.local/state/tapio/stories.db")),
            (
                &[("HOME", "/home/a"), ("XDG_STATE_HOME", "/state")],
                &shared,
                Some("/state/tapio/stories.db"),
            ),
            (&[("XDG_RUNTIME_DIR", "/run/user/7")], "/run/user/7/tapio.sock", None),
            (&[("XDG_RUNTIME_DIR", ""), ("XDG_STATE_HOME", "state")], &shared, None),
        ];
        for (env, socket, store) in cases {
            let found = default_paths(&|name| {
                env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            });
            let want = Paths { socket: socket.into(), store: store.map(PathBuf::from) };
            assert_eq!(found, want, "{env:?}");
        }
    }
}
