//! The target `models`: see the library.

fn main() {
    imgopen_fuzz::start(imgopen_fuzz::models);
}
