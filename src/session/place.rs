//! Where a file lies, as a session may say it: sessions are sent to others, so they hold no absolute path and no name of a
//! user.

use std::env;
use std::path::{Component, Path, PathBuf};

/// The path of `target` as seen from `folder`, with forward slashes; `None` if they have nothing in common but the root of
/// the disk, the home directory, what is above it, or the folder for temporary files: then the bare file name is all that
/// may be told.
pub fn relative(target: &Path, folder: &Path) -> Option<String> {
    let here = env::current_dir().unwrap_or_default();
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| here.join(path));
    let rooms = Rooms { home: env::home_dir(), temporary: whole(&env::temp_dir()) };
    rooms.relative(&whole(target), &whole(folder))
}

/// Folders that are nothing in common.
struct Rooms {
    home: Option<PathBuf>,
    temporary: PathBuf,
}

impl Rooms {
    fn relative(&self, target: &Path, folder: &Path) -> Option<String> {
        let (target, folder) = (parts(target)?, parts(folder)?);
        let shared = target.iter().zip(&folder).take_while(|(a, b)| a == b).count();
        let ancestor: PathBuf = target[..shared].iter().collect();
        if self.is_too_wide(&ancestor) {
            return None;
        }
        let mut way = vec![".."; folder.len() - shared];
        for part in &target[shared..] {
            way.push(part.as_os_str().to_str()?);
        }
        let user = self.home.as_deref().and_then(Path::file_name);
        if way.iter().any(|part| user.is_some_and(|user| user == *part)) {
            return None;
        }
        Some(if way.is_empty() { ".".into() } else { way.join("/") })
    }

    fn is_too_wide(&self, folder: &Path) -> bool {
        const HOMES: [&str; 2] = ["/home", "/Users"];
        let above = |path: &Path| path.starts_with(folder);
        let of_someone = folder.parent().is_some_and(|parent| HOMES.iter().any(|homes| parent == Path::new(homes)));
        folder.parent().is_none()
            || of_someone
            || HOMES.iter().any(|homes| above(Path::new(homes)))
            || self.home.as_deref().is_some_and(above)
            || above(&self.temporary)
    }
}

/// The components of an absolute path, without `.` and `..`.
fn parts(path: &Path) -> Option<Vec<Component<'_>>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop().filter(|part| matches!(part, Component::Normal(_)))?;
            }
            _ => parts.push(part),
        }
    }
    path.is_absolute().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_only_where_it_tells_nothing_of_its_user() {
        for (target, folder, told) in [
            // beside, below, above
            ("/work/port/dumps/a.st", "/work/port/sessions", Some("../dumps/a.st")),
            ("/work/port/sessions/a.st", "/work/port/sessions", Some("a.st")),
            ("/work/port/sessions/deep/a.st", "/work/port/sessions", Some("deep/a.st")),
            ("/work/port", "/work/port/sessions", Some("..")),
            ("/work/models/m", "/work/port/sessions/x", Some("../../../models/m")),
            ("/work/./port/../models/m", "/work/port", Some("../models/m")),
            // below a home, with a folder of it in common
            ("/home/me/port/a.st", "/home/me/port", Some("a.st")),
            ("/home/me/port/dumps/a.st", "/home/me/port/sessions", Some("../dumps/a.st")),
            // nothing in common but the home, what is above it, or the root
            ("/home/me/a.st", "/home/me", None),
            ("/home/me/models/m", "/home/me/sessions", None),
            ("/home/you/models/m", "/home/me/sessions", None),
            ("/home/you/models/m", "/home/you/sessions", None),
            ("/Users/you/models/m", "/Users/you/sessions", None),
            ("/data/a.st", "/work", None),
            ("/work", "/data", None),
            // the folder for temporary files
            ("/tmp/a.st", "/tmp", None),
            ("/tmp/a/a.st", "/tmp/b", None),
            ("/tmp/a/a.st", "/tmp/a", Some("a.st")),
            // the user's name on the way
            ("/data/me/m", "/data/sessions", None),
            ("/data/you/m", "/data/sessions", Some("../you/m")),
            // the folder itself
            ("/work/port", "/work/port", Some(".")),
            // no absolute path
            ("a.st", "/work", None),
            ("/..", "/work", None),
        ] {
            let rooms = Rooms { home: Some("/home/me".into()), temporary: "/tmp".into() };
            let found = rooms.relative(Path::new(target), Path::new(folder));
            assert_eq!(found.as_deref(), told, "{target} from {folder}");
        }
    }

    #[test]
    fn the_home_of_root_and_a_home_elsewhere_are_homes() {
        for (home, target, folder, told) in [
            ("/root", "/root/models/m", "/root/sessions", None),
            ("/root", "/root/port/a.st", "/root/port", Some("a.st")),
            ("/data/people/me", "/data/people/x", "/data/people/y", None),
            ("/data/people/me", "/data/x", "/data/y", None),
        ] {
            let rooms = Rooms { home: Some(home.into()), temporary: "/tmp".into() };
            let found = rooms.relative(Path::new(target), Path::new(folder));
            assert_eq!(found.as_deref(), told, "{target} from {folder} at {home}");
        }
    }

    #[test]
    fn files_that_are_there_are_found_through_links_and_dots() {
        let folder = tempfile::tempdir().expect("a folder");
        let sessions = folder.path().join("sessions");
        std::fs::create_dir(&sessions).expect("made");
        std::fs::write(folder.path().join("a.st"), "").expect("written");
        let target = sessions.join("../a.st");
        assert_eq!(relative(&target, &sessions).as_deref(), Some("../a.st"));
    }
}
