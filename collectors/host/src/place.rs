//! Where something happened, as paths tell it.

use std::path::Path;

use tapio_model::{Place, Text, Workload};

/// Hexadecimal digits of a container id.
const CONTAINER_ID_DIGITS: usize = 64;

/// Reads the path of a control group below its hierarchy's mount.
///
/// Knows the paths that the kubelet makes with the cgroupfs and the systemd driver (v1 and v2), of
/// containerd, CRI-O, Docker and Podman; for a systemd service the workload is the unit.
#[must_use]
pub fn place_of_cgroup(path: &str) -> Place {
    let parts = || path.split('/').filter(|part| !part.is_empty());
    let pod_uid = parts().find_map(pod_uid);
    // The innermost wins: a container may run in a container.
    let container_id = parts().filter_map(container_id).next_back();
    let is_unit = pod_uid.is_none() && container_id.is_none();
    let unit = parts().rfind(|part| is_unit && part.ends_with(".service"));
    Place {
        cgroup: Some(path.into()),
        pod_uid,
        container_id,
        workload: unit.map(|unit| Workload { kind: "Unit".into(), name: unit.into() }),
        ..Place::default()
    }
}

/// Reads `pod<uid>` (cgroupfs) and `kubepods-burstable-pod<uid>.slice` (systemd, where the dashes
/// of the uid are underscores, as a dash there means a level).
fn pod_uid(part: &str) -> Option<Text> {
    // With mismatched drivers the name is `kubepods-pod<uid>.slice:cri-containerd:<id>`.
    let part = part.split(':').next().unwrap_or(part);
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid)?,
        None => part.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let is_uid = uid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    // A static pod's uid is a hash without dashes.
    (is_uid && matches!(uid.len(), 32 | 36)).then(|| uid.into())
}

fn container_id(part: &str) -> Option<Text> {
    const RUNTIMES: [&str; 4] = ["cri-containerd-", "crio-", "docker-", "libpod-"];
    let part = part.rsplit(':').next().unwrap_or(part);
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let id = RUNTIMES.iter().find_map(|runtime| name.strip_prefix(runtime)).unwrap_or(name);
    is_container_id(id).then(|| id.into())
}

fn is_container_id(id: &str) -> bool {
    id.len() == CONTAINER_ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Reads the path of a log file: the kubelet's two trees name pod and container, for any other
/// file `service`, or else its stem, is the service.
#[must_use]
pub fn place_of_log_file(path: &Path, service: Option<&Text>) -> Place {
    pod_log(path).or_else(|| container_log(path)).unwrap_or_else(|| {
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned().into());
        Place { service: service.cloned().or_else(stem), ..Place::default() }
    })
}

/// Reads `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log`.
fn pod_log(path: &Path) -> Option<Place> {
    let container = path.parent()?;
    let pod = container.parent()?;
    if pod.parent()?.file_name()? != "pods" {
        return None;
    }
    let mut names = pod.file_name()?.to_str()?.splitn(3, '_');
    Some(Place {
        namespace: Some(names.next()?.into()),
        pod: Some(names.next()?.into()),
        pod_uid: Some(names.next()?.into()),
        container: Some(container.file_name()?.to_str()?.into()),
        ..Place::default()
    })
}

/// Reads `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`.
fn container_log(path: &Path) -> Option<Place> {
    if path.parent()?.file_name()? != "containers" {
        return None;
    }
    let mut names = path.file_name()?.to_str()?.strip_suffix(".log")?.splitn(3, '_');
    let (pod, namespace) = (names.next()?, names.next()?);
    let (container, id) = names.next()?.rsplit_once('-')?;
    is_container_id(id).then(|| Place {
        namespace: Some(namespace.into()),
        pod: Some(pod.into()),
        container: Some(container.into()),
        container_id: Some(id.into()),
        ..Place::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "6d1b2f3a-8c4e-4a5b-9d6e-7f8091a2b3c4";
    const UID_: &str = "6d1b2f3a_8c4e_4a5b_9d6e_7f8091a2b3c4";

    #[test]
    fn reads_the_paths_that_runtimes_make() {
        let containers = [
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope/container"),
            format!(
                "/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/docker-{ID}.scope"
            ),
            format!("/kubelet.slice/kubelet-kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope"),
            format!(
                "/system.slice/containerd.service/kubepods-pod{UID_}.slice:cri-containerd:{ID}"
            ),
        ];
        for path in &containers {
            let place = place_of_cgroup(path);
            assert_eq!(place.pod_uid.as_deref(), Some(UID), "{path}");
            assert_eq!(place.container_id.as_deref(), Some(ID), "{path}");
            assert_eq!(place.workload, None, "{path}");
            assert_eq!(place.cgroup.as_deref(), Some(path.as_str()));
        }
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ] {
            let place = place_of_cgroup(&path);
            assert_eq!(place.pod_uid, None, "{path}");
            assert_eq!(place.container_id.as_deref(), Some(ID), "{path}");
        }
    }

    #[test]
    fn a_pods_own_group_is_the_pod_and_no_container() {
        let place = place_of_cgroup(&format!("/kubepods/besteffort/pod{UID}"));
        assert_eq!((place.pod_uid.as_deref(), place.container_id), (Some(UID), None));
    }

    #[test]
    fn a_service_is_a_unit_and_the_rest_is_a_path() {
        let unit = |path: &str| place_of_cgroup(path).workload.map(|unit| unit.name.to_string());
        assert_eq!(unit("/system.slice/nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(
            unit("/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service").as_deref(),
            Some("shop.service")
        );
        for path in ["/", "", "/user.slice/session-3.scope", "/tapio-test-7031", "/podium/pod"] {
            let place = place_of_cgroup(path);
            assert_eq!(place, Place { cgroup: Some(path.into()), ..Place::default() });
        }
        let conmon = place_of_cgroup(&format!("/machine.slice/crio-conmon-{ID}.scope"));
        assert_eq!(conmon.container_id, None);
    }

    #[test]
    fn log_files_name_their_container_or_a_service() {
        let pod = format!("/var/log/pods/shop_cart-7d9f_{UID}/cart/0.log");
        let place = place_of_log_file(Path::new(&pod), None);
        assert_eq!(place.label(), "shop/cart-7d9f/cart");
        assert_eq!(place.pod_uid.as_deref(), Some(UID));
        let container = format!("/var/log/containers/cart-7d9f_shop_my-cart-{ID}.log");
        let place = place_of_log_file(Path::new(&container), None);
        assert_eq!(place.label(), "shop/cart-7d9f/my-cart");
        assert_eq!(place.container_id.as_deref(), Some(ID));
        let service = |given: Option<&str>| {
            let given = given.map(Text::from);
            place_of_log_file(Path::new("/var/log/nginx/error.log"), given.as_ref()).service
        };
        assert_eq!(service(Some("web")).as_deref(), Some("web"));
        assert_eq!(service(None).as_deref(), Some("error"));
    }
}
