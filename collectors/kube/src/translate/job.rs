//! Jobs that fail, and `CronJob`s that change.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Severity, keys};

use super::{
    Context, Translate,
    seen::{Seen, turned},
    workload::generation,
};

impl Translate for Job {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let conditions = |object: &'_ Self| object.status.as_ref()?.conditions.clone();
        let (before, now) = (seen.before.and_then(conditions), conditions(seen.last));
        let failed = |status: &Option<Vec<_>>| {
            turned(None, status.as_deref())
                .into_iter()
                .any(|(_, now)| now.name == "Failed" && now.is_true())
        };
        if failed(&before) {
            return Vec::new();
        }
        let status = seen.last.status.as_ref();
        turned(None, now.as_deref())
            .into_iter()
            .filter(|(_, condition)| condition.name == "Failed" && condition.is_true())
            .filter_map(|(_, condition)| {
                // A failed Job stays in the list until its history is cut.
                let time = seen.time(condition.since);
                let event = seen
                    .event(Kind::JobFailed, time, &["failed"])
                    .at(seen.workload_place("Job"))
                    .rated(Severity::Error, 0.6, Class::Lifecycle)
                    .with_some(keys::COUNT, status.and_then(|status| status.failed));
                seen.is_news(time).then(|| condition.tell(seen.named(event, "Job")))
            })
            .take(1)
            .collect()
    }
}

impl Translate for CronJob {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let template =
            |object: &'_ Self| Some(object.spec.job_template.spec.as_ref()?.template.clone());
        let now = template(seen.last);
        let is_new = seen.before.and_then(template) != now;
        let told = is_new.then(|| generation(&seen, "CronJob", now.as_ref())).flatten();
        told.into_iter().collect()
    }
}
