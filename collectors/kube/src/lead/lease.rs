//! Asking for the Lease, and keeping it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tapio_model::Clock;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{Candidate, LeadState, View};
use crate::{LeadConfig, Marks, Rule, StatusBoard, trouble::Trouble};

/// Annotation of the Lease in which the leader leaves how far it told: the next one continues.
const TOLD: &str = "tapio.dev/told";

/// What the election says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Led {
    /// Whether we lead.
    pub(crate) is_leading: bool,
    /// How far the leader before us told.
    pub(crate) marks: Option<Marks>,
}

/// Takes part in the election.
pub(crate) struct Elector {
    leases: Api<Lease>,
    config: LeadConfig,
    candidate: Candidate,
    clock: Arc<dyn Clock>,
    board: Arc<StatusBoard>,
    start: Instant,
    told: watch::Receiver<Marks>,
}

impl Elector {
    pub(crate) fn new(
        client: Client,
        config: LeadConfig,
        (clock, board): (Arc<dyn Clock>, Arc<StatusBoard>),
        told: watch::Receiver<Marks>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, &config.namespace),
            candidate: Candidate::new(config.identity.clone(), config.ttl),
            config,
            clock,
            board,
            start: Instant::now(),
            told,
        }
    }

    /// Takes part until `leave` turns true, then lets go.
    pub(crate) async fn run(mut self, led: watch::Sender<Led>, mut leave: watch::Receiver<bool>) {
        let round = self.config.ttl / 4;
        while !*leave.borrow() {
            // A request must not outlast our term: silence is how a leader learns of its end.
            let patience =
                self.candidate.leads_for(self.now()).map_or(round, |left| left.min(round));
            let outcome = timeout(patience, self.round(&led)).await;
            self.publish(&led, outcome.unwrap_or(Err(Trouble::Silent)));
            let wait = self.candidate.leads_for(self.now()).map_or(round, |left| left.min(round));
            tokio::select! {
                () = sleep(wait) => {}
                left = leave.wait_for(|leave| *leave) => if left.is_err() { break },
            }
            self.publish_term(&led);
        }
        if self.candidate.leads_for(self.now()).is_some() {
            self.candidate.release();
            let released = timeout(round, self.release()).await;
            info!(is_released = matches!(released, Ok(Ok(()))), "leaves the lead");
        }
        led.send_modify(|led| led.is_leading = false);
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    async fn round(&mut self, led: &watch::Sender<Led>) -> Result<(), Trouble> {
        let name = self.config.name.clone();
        let found = self.leases.get_opt(&name).await.map_err(|error| Trouble::of(&error));
        // A 404 without a reason is a Lease that is not there, too.
        let lease = if found == Err(Trouble::NotServed) { None } else { found? };
        let now = self.now();
        if !self.candidate.see(lease.as_ref().map(view), now) {
            return Ok(());
        }
        let is_new = self.candidate.leads_for(now).is_none();
        let found = lease.as_ref().filter(|_| is_new).and_then(marks);
        let written = self.write(lease, self.config.identity.clone(), is_new).await;
        match written {
            Ok(()) => {
                self.candidate.hold(now);
                if is_new {
                    led.send_modify(|led| led.marks = found);
                }
                Ok(())
            }
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(Trouble::of(&error)),
        }
    }

    /// Writes the Lease; leaves what was told alone while we have told nothing ourselves.
    async fn write(
        &self,
        lease: Option<Lease>,
        holder: String,
        is_new: bool,
    ) -> Result<(), kube::Error> {
        let is_there = lease.is_some();
        let mut lease = lease.unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        self.fill(spec, holder, is_new);
        if !is_there {
            lease.metadata =
                ObjectMeta { name: Some(self.config.name.clone()), ..ObjectMeta::default() };
        }
        let told = self.told.borrow().clone();
        if !told.versions.is_empty() && !is_new {
            let text = serde_json::to_string(&told).map_err(kube::Error::SerdeError)?;
            let annotations = lease.metadata.annotations.get_or_insert_with(BTreeMap::new);
            annotations.insert(TOLD.into(), text);
        }
        let post = PostParams::default();
        if is_there {
            self.leases.replace(&self.config.name, &post, &lease).await?;
        } else {
            self.leases.create(&post, &lease).await?;
        }
        Ok(())
    }

    fn fill(&self, spec: &mut LeaseSpec, holder: String, is_new: bool) {
        let nanos = i128::from(self.clock.now().as_nanos());
        let now = jiff::Timestamp::from_nanosecond(nanos).ok().map(MicroTime);
        if is_new {
            spec.acquire_time.clone_from(&now);
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.holder_identity = Some(holder);
        spec.lease_duration_seconds = i32::try_from(self.config.ttl.as_secs()).ok();
        spec.renew_time = now;
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get_opt(&self.config.name).await?;
        let is_ours = |lease: &Lease| view(lease).holder == self.config.identity;
        match lease.filter(is_ours) {
            Some(lease) => self.write(Some(lease), String::new(), false).await,
            None => Ok(()),
        }
    }

    fn publish(&self, led: &watch::Sender<Led>, outcome: Result<(), Trouble>) {
        let is_leading = self.publish_term(led);
        let state = match outcome {
            _ if is_leading => LeadState::Leading,
            Ok(()) => LeadState::Following {
                leader: self.candidate.leader().unwrap_or_default().to_owned(),
            },
            Err(Trouble::Forbidden) => LeadState::Refused(Rule::to_lead(&self.config.namespace)),
            Err(trouble) => LeadState::Unreachable(trouble.text()),
        };
        let before = self.board.snapshot().lead;
        if before != state {
            match &state {
                LeadState::Refused(rule) => warn!(
                    %rule, "may not take part in the election, so watches nothing: add the rule, or switch `lead` off"
                ),
                LeadState::Unreachable(why) => warn!(why, "no answer about the lead"),
                LeadState::Alone | LeadState::Following { .. } | LeadState::Leading => {
                    info!(?state, "lead");
                }
            }
            self.board.write_lead(state);
        }
    }

    fn publish_term(&self, led: &watch::Sender<Led>) -> bool {
        let is_leading = self.candidate.leads_for(self.now()).is_some();
        led.send_if_modified(|led| {
            let is_news = led.is_leading != is_leading;
            led.is_leading = is_leading;
            is_news
        });
        is_leading
    }
}

fn view(lease: &Lease) -> View {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    View {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: holder.unwrap_or_default(),
    }
}

fn marks(lease: &Lease) -> Option<Marks> {
    let text = lease.metadata.annotations.as_ref()?.get(TOLD)?;
    serde_json::from_str(text).ok()
}
