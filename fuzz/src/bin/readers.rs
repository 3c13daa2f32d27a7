//! The target `readers`: see the library.

fn main() {
    imgopen_fuzz::start(imgopen_fuzz::readers);
}
