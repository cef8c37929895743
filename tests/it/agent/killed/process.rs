//! `tapio agent` as people start it.

use std::{fs, path::PathBuf, process::ExitStatus, time::Duration};

use tapio_chaos::real::{NodeCommand, NodeProcess};
use tapio_tests::tapio_binary;

use super::super::world::{Mesh, Outcome, check, said, until};

/// The agent: a process with a spool and positions that outlive it, killed when dropped.
pub(super) struct AgentProcess {
    process: NodeProcess,
    starts: usize,
}

impl AgentProcess {
    pub(super) fn prepare() -> Outcome<Self> {
        let process = NodeProcess::prepare("agent").map_err(said)?;
        Ok(Self { process, starts: 0 })
    }

    /// Returns where the logs of pods are.
    pub(super) fn logs(&self) -> PathBuf {
        self.process.state_dir().join("pods")
    }

    /// Starts it with an output, and waits until it runs.
    pub(super) async fn start(&mut self, mesh: &Mesh, mode: &str) -> Outcome {
        self.configure(mesh, mode)?;
        let command = NodeCommand {
            program: tapio_binary()?,
            args: ["agent", "--log-level", "info", "--config"]
                .map(Into::into)
                .into_iter()
                .chain([self.config().into_os_string()])
                .collect(),
            env: Vec::new(),
        };
        self.process.start(&command).await.map_err(said)?;
        self.starts += 1;
        until(async || {
            let said = self.said();
            check(said.matches("the agent runs").count() == self.starts, || said.clone())
        })
        .await
    }

    /// Changes its output while it runs, and waits until it has.
    pub(super) async fn point_to(&self, mesh: &Mesh, mode: &str) -> Outcome {
        let switches = || self.said().matches("the output is switched").count();
        let before = switches();
        self.configure(mesh, mode)?;
        until(async || check(switches() > before, || self.said())).await
    }

    /// Waits until it has kept two positions of what it reads.
    pub(super) async fn keeps_positions(&self) -> Outcome {
        let path = self.process.state_dir().join("files.positions");
        for _ in 0..2 {
            let before = fs::read_to_string(&path).unwrap_or_default();
            until(async || {
                let now = fs::read_to_string(&path).unwrap_or_default();
                check(now != before, || "positions are not kept".to_owned())
            })
            .await?;
        }
        Ok(())
    }

    pub(super) async fn kill(&mut self) -> Outcome {
        check(self.process.is_running(), || self.said())?;
        self.process.kill().await.map_err(said)
    }

    pub(super) async fn terminate(&mut self, patience: Duration) -> Outcome<ExitStatus> {
        self.process.terminate(patience).await.map_err(said)
    }

    /// Returns everything it said, over all its starts.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.process.stderr_path()).unwrap_or_default()
    }

    fn config(&self) -> PathBuf {
        self.process.state_dir().join("agent.yaml")
    }

    fn configure(&self, mesh: &Mesh, mode: &str) -> Outcome {
        let (spool, logs) = (self.process.state_dir().join("spool"), self.logs());
        let text = format!(
            "cluster: prod\nnode: worker-1\n{}spool: {{ path: '{}' }}\ncollectors:\n  kernel: {{ \
             enabled: false }}\n  kubernetes: {{ enabled: false }}\n  host: {{ kmsg: {{ enabled: \
             false }}, journal: {{ enabled: false }}, cgroup: {{ enabled: false }}, pod_logs: {{ \
             enabled: false }}, files: ['{}'] }}\n",
            mesh.output(mode),
            spool.display(),
            logs.join("*/*/*.log").display()
        );
        fs::write(self.config(), text).map_err(said)
    }
}
