//! System calls that fail, by what the errno says of which resource.
//!
//! An errno names no file and no peer; where another probe sees the same with both, it tells.

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Header, SyscallFailed};
use tapio_model::{Class, Kind, Severity, Text, keys};

use super::Context;
use crate::{
    syscalls::{Purpose, syscall},
    words::{comm, errno},
};

/// What a failure means.
struct Meaning {
    kind: Kind,
    severity: Severity,
    impact: f32,
    class: Class,
    resource: Option<&'static str>,
}

pub(super) fn translate(
    header: &Header,
    failed: &SyscallFailed,
    mut context: Context<'_>,
) -> Option<Unbound> {
    let known = syscall(failed.nr);
    let purpose = known.map_or(Purpose::Other, |(_, purpose)| purpose);
    if purpose == Purpose::Connect && context.sees_connections && failed.errno > 99 {
        return None;
    }
    let meaning = meaning(failed.errno, purpose)?;
    let name =
        known.map_or_else(|| format!("syscall {}", failed.nr).into(), |(name, _)| Text::from(name));
    let why = errno(failed.errno);
    let message = format!(
        "{} (pid {}): {name} failed with {why}",
        comm(&header.comm).unwrap_or_default(),
        header.pid
    );
    let event = context
        .of_task(header, meaning.kind)
        .rated(meaning.severity, meaning.impact, meaning.class)
        .with(keys::SYSCALL, name)
        .with(keys::ERROR_TYPE, why)
        .with(keys::COUNT, failed.count.max(1))
        .with_some(keys::RESOURCE, meaning.resource)
        .message(message);
    Some(event)
}

fn meaning(error: u32, purpose: Purpose) -> Option<Meaning> {
    let meaning =
        |kind, severity, impact, class| Meaning { kind, severity, impact, class, resource: None };
    let limit = |resource, class| Meaning {
        resource: Some(resource),
        ..meaning(Kind::LimitReached, Severity::Error, 0.6, class)
    };
    let told = match (error, purpose) {
        (1 | 13, _) => meaning(Kind::AccessDenied, Severity::Warn, 0.2, Class::Configuration),
        // A terminal whose other end is gone reads EIO; a disk's error is told by its device too.
        (5, Purpose::Store) => meaning(Kind::IoError, Severity::Error, 0.7, Class::Storage),
        (11, Purpose::Fork) => limit("processes", Class::Lifecycle),
        (23 | 24, _) => limit("open_files", Class::Other),
        (28, Purpose::Store) => meaning(Kind::StorageFull, Severity::Error, 0.7, Class::Storage),
        (28, Purpose::Watch) => limit("watches", Class::Other),
        // Some images are read-only by design, and their programs try.
        (30, Purpose::Store) => {
            meaning(Kind::FilesystemReadOnly, Severity::Warn, 0.5, Class::Storage)
        }
        (99, Purpose::Connect) => limit("ports", Class::Network),
        (110, Purpose::Connect) => {
            meaning(Kind::ConnectTimeout, Severity::Error, 0.5, Class::Network)
        }
        (111, Purpose::Connect | Purpose::Traffic) => {
            meaning(Kind::ConnectRefused, Severity::Error, 0.5, Class::Network)
        }
        _ => return None,
    };
    Some(told)
}

#[cfg(all(test, not(target_arch = "aarch64")))]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    fn told(nr: u32, errno: u32, world: &mut World) -> Option<Unbound> {
        let failed = SyscallFailed { nr, errno, count: 3, reserved: 0 };
        translate(&header(), &failed, world.context())
    }

    #[test]
    fn each_errno_names_its_own_resource() {
        // (call, errno, kind, resource)
        let cases = [
            (1, 28, Some(Kind::StorageFull), None),
            (285, 28, Some(Kind::StorageFull), None),
            (254, 28, Some(Kind::LimitReached), Some("watches")),
            (321, 28, None, None),
            (257, 24, Some(Kind::LimitReached), Some("open_files")),
            (253, 24, Some(Kind::LimitReached), Some("open_files")),
            (294, 24, Some(Kind::LimitReached), Some("open_files")),
            (41, 23, Some(Kind::LimitReached), Some("open_files")),
            (56, 11, Some(Kind::LimitReached), Some("processes")),
            (0, 11, None, None),
            (42, 99, Some(Kind::LimitReached), Some("ports")),
            (49, 99, None, None),
            (1, 5, Some(Kind::IoError), None),
            (0, 5, None, None),
            (257, 30, Some(Kind::FilesystemReadOnly), None),
            (42, 111, Some(Kind::ConnectRefused), None),
            (45, 111, Some(Kind::ConnectRefused), None),
            (42, 110, Some(Kind::ConnectTimeout), None),
            (0, 110, None, None),
            (59, 13, Some(Kind::AccessDenied), None),
            (2, 1, Some(Kind::AccessDenied), None),
            (1, 3, None, None),
        ];
        for (nr, errno, kind, resource) in cases {
            let event = told(nr, errno, &mut World::default());
            assert_eq!(event.as_ref().map(|event| event.kind), kind, "{nr} {errno}");
            let Some(event) = event else { continue };
            let said = World::said(&event);
            assert_eq!(said.text(keys::RESOURCE), resource, "{nr} {errno}");
            assert_eq!(said.int(keys::COUNT), Some(3));
            assert!(said.text(keys::SYSCALL).is_some());
        }
    }

    #[test]
    fn a_failed_connect_is_told_once() {
        let mut world = World { sees_connections: true };
        assert_eq!(told(42, 111, &mut world), None);
        assert_eq!(told(42, 110, &mut world), None);
        // What is no connection is told by its errno alone.
        assert!(told(45, 111, &mut world).is_some());
        assert!(told(42, 99, &mut world).is_some());
    }
}
