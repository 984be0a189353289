//! The Java virtual machine for classes that are not part of Flume: options of `aqueduct agent` and
//! `aqueduct convert`, and the command of the bridge, `deploy/flume-jvm`.

use std::path::Path;

use clap::Args;
use flume::{Jvm, World};
use pipeline::units::ByteSize;

use super::HostContext;

/// File name of the bridge.
const JAR: &str = "aqueduct-flume.jar";
/// Its place below the folder of the program, and in packages.
const JAR_FOLDERS: [&str; 2] = ["../lib/aqueduct", "."];
const JAR_PACKAGED: &str = "/usr/lib/aqueduct/aqueduct-flume.jar";
/// The class with its `main`.
const MAIN: &str = "aqueduct.flume.Launcher";
/// Memory of the heap by default, and of everything else.
const HEAP: ByteSize = ByteSize::mib(256);
const OTHER_MEMORY: ByteSize = ByteSize::mib(768);

/// Options for Java classes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct JvmArgs {
    /// Jars of Java classes that are not part of Flume, and of Flume 1.11: files and folders,
    /// separated by colons. The jars in FLUME_HOME/lib and FLUME_HOME/plugins.d follow them
    #[arg(short = 'C', long, value_name = "PATHS")]
    classpath: Option<String>,

    /// Folders with plug-ins of Flume, NAME/lib, NAME/libext and NAME/native, separated by colons
    /// [default: plugins.d in FLUME_HOME]
    #[arg(long, value_name = "DIRS")]
    plugins_path: Option<String>,

    /// An option of the virtual machine of each class, such as -Xmx512m [default: -Xmx256m]
    #[arg(short = 'X', value_name = "OPTION")]
    jvm: Vec<String>,

    /// A Java class of an interceptor whose result depends on the event and its keys only; it may
    /// run in any source
    #[arg(long, value_name = "CLASS")]
    pure: Vec<String>,
}

impl JvmArgs {
    /// Returns the virtual machine; `None` without a class path.
    ///
    /// # Errors
    /// A folder of plug-ins cannot be read.
    pub(super) fn jvm(
        &self,
        conf: Option<&Path>,
        here: &HostContext<'_>,
    ) -> Result<Option<Jvm>, String> {
        let home = here.variable("FLUME_HOME");
        let plugins = self.plugins(home.as_deref(), here)?;
        if self.classpath.is_none() && home.is_none() && plugins.is_empty() {
            return Ok(None);
        }
        let (jar, problem) = jar(here);
        let mut paths = vec![jar];
        paths.extend(conf.map(|folder| folder.display().to_string()));
        paths.extend(self.classpath.iter().flat_map(|paths| paths.split(':')).flat_map(jars));
        paths.extend(home.iter().map(|home| format!("{home}/lib/*")));
        paths.extend(
            plugins
                .iter()
                .flat_map(|plugin| ["lib", "libext"].map(|folder| format!("{plugin}/{folder}/*"))),
        );
        let java = here.variable("JAVA_HOME").map(|home| format!("{home}/bin/java"));
        let mut command = vec![java.unwrap_or_else(|| "java".to_owned())];
        let heap = self.jvm.iter().rev().find_map(|option| option.strip_prefix("mx"));
        if heap.is_none() {
            command.push(format!("-Xmx{}m", HEAP.0 >> 20));
        }
        command.extend(self.jvm.iter().map(|option| format!("-X{option}")));
        command.push("-XX:+ExitOnOutOfMemoryError".to_owned());
        if !plugins.is_empty() {
            let native: Vec<String> =
                plugins.iter().map(|plugin| format!("{plugin}/native")).collect();
            command.push(format!("-Djava.library.path={}", native.join(":")));
        }
        command.extend(here.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        command.extend(["-cp".to_owned(), paths.join(":"), MAIN.to_owned()]);
        let memory_max = heap.and_then(bytes).filter(|heap| *heap > HEAP.0);
        let memory_max = memory_max.map(|heap| ByteSize(heap + OTHER_MEMORY.0).to_string());
        Ok(Some(Jvm { command, memory_max, pure: self.pure.clone(), problem }))
    }

    /// Returns the folders of the plug-ins of Flume.
    fn plugins(&self, home: Option<&str>, here: &HostContext<'_>) -> Result<Vec<String>, String> {
        let default = home.map(|home| format!("{home}/plugins.d"));
        let Some(folders) = self.plugins_path.clone().or(default) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for folder in folders.split(':').filter(|folder| !folder.is_empty()) {
            match here.env.disk.list(Path::new(folder)) {
                Ok(all) => found.extend(all.iter().map(|(name, _)| format!("{folder}/{name}"))),
                Err(_) if self.plugins_path.is_none() => {}
                Err(error) => {
                    return Err(format!(
                        "--plugins-path: cannot read {folder}: {error}; pass the folder \
                         `plugins.d` of Flume"
                    ));
                }
            }
        }
        Ok(found)
    }
}

/// Returns the path of the bridge, and the problem if it does not exist.
fn jar(here: &HostContext<'_>) -> (String, Option<String>) {
    if let Some(jar) = here.variable("AQUEDUCT_FLUME_JAR") {
        return (jar, None);
    }
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(Path::parent);
    let near = folder.into_iter().flat_map(|it| JAR_FOLDERS.map(|near| it.join(near).join(JAR)));
    let exists = |path: &Path| here.env.disk.stat(path).is_ok();
    if let Some(found) = near.into_iter().find(|path| exists(path)) {
        return (found.display().to_string(), None);
    }
    let problem = format!(
        "{JAR_PACKAGED} does not exist: install it from the release, or set AQUEDUCT_FLUME_JAR to \
         its path"
    );
    (JAR_PACKAGED.to_owned(), (!exists(Path::new(JAR_PACKAGED))).then_some(problem))
}

/// Returns the entries of a class path for one path; a folder stands for its classes and its jars.
fn jars(path: &str) -> Vec<String> {
    match path {
        "" => Vec::new(),
        path if path.ends_with(".jar") || path.ends_with('*') => vec![path.to_owned()],
        folder => {
            let folder = folder.trim_end_matches('/');
            vec![folder.to_owned(), format!("{folder}/*")]
        }
    }
}

/// Parses a size of Java, such as `512m`.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_sizes_are_those_of_java() {
        assert_eq!(jars("/opt/jars/"), ["/opt/jars", "/opt/jars/*"]);
        assert_eq!(jars("/a.jar"), ["/a.jar"]);
        assert_eq!(jars("/opt/*"), ["/opt/*"]);
        for (text, size) in [("512m", Some(512 << 20)), ("1G", Some(1 << 30)), ("x", None)] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
