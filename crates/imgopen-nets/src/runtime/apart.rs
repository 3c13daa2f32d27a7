//! Nets in processes of their own, so that one that takes too much memory or time, or brings its runtime down, ends nothing else.

mod guest;
mod settings;
mod wire;

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use self::guest::Guest;
pub use self::settings::ApartSettings;
use self::wire::Request;
use super::{Program, ProgramError, Runtime};
use crate::guard::guarded;
use crate::onnx::outline;
use crate::tensor::Tensor;

/// The bytes that a process may take beside what its net needs: the program, its threads, and their stacks.
const OVERHEAD: u64 = 2 * 1024 * 1024 * 1024;

/// A runtime that runs each net in a process of its own. It ends with the net, and with the process that started it.
#[derive(Debug, Clone)]
pub struct Apart {
    settings: Arc<ApartSettings>,
}

/// A net in its process. Runs wait for each other.
struct Lodged(Mutex<Guest>);

impl Apart {
    /// Creates the runtime. Nothing is started until a net is loaded.
    pub fn new(settings: ApartSettings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

impl Runtime for Apart {
    fn name(&self) -> &'static str {
        self.settings.runtime
    }

    fn variant(&self) -> String {
        self.settings.variant.clone()
    }

    fn load(&self, model: Vec<u8>, _: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        let weights = outline::read(&model, u64::MAX)?.weights;
        let parts = [model.len() as u64, weights, self.settings.working, OVERHEAD];
        let memory = parts.into_iter().fold(0, u64::saturating_add);
        let mut guest = Guest::start(&self.settings).map_err(ProgramError::Runtime)?;
        guest.ask(|to| wire::write_load(to, memory, &model))?;
        Ok(Box::new(Lodged(Mutex::new(guest))))
    }
}

impl Program for Lodged {
    fn run(&self, inputs: &[(&str, &Tensor)], outputs: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        // A run that panicked has left a process that does not answer what is asked; the next one finds that out.
        let mut guest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guest.ask(|to| wire::write_run(to, inputs, outputs))
    }

    fn has_ended(&self) -> bool {
        // One that is being asked something says itself how that ends.
        self.0.try_lock().is_ok_and(|mut guest| guest.has_ended())
    }
}

/// Runs a net for the process that started this one, as [`Apart`] does, until it closes `input`.
///
/// `limit` is called with the bytes that this process may take from then on, and is expected to have the system refuse more.
/// `ended` is called, on another thread, when the other process has closed `input` or ended; as a run cannot be stopped, it is expected
/// to end this process.
///
/// # Errors
///
/// If an answer cannot be written, because the other process has ended.
pub fn serve(
    runtime: &dyn Runtime,
    input: impl Read + Send + 'static,
    output: impl Write,
    limit: impl Fn(u64),
    ended: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let (asks, asked) = channel();
    let reader = thread::Builder::new().name("imgopen-net-asked".to_owned());
    reader.spawn(move || {
        let mut input = BufReader::new(input);
        while let Ok(Some(request)) = wire::read_request(&mut input) {
            if asks.send(request).is_err() {
                return;
            }
        }
        ended();
    })?;
    let mut output = BufWriter::new(output);
    wire::write_greeting(&mut output)?;
    let mut program: Option<Box<dyn Program>> = None;
    for request in asked {
        let answer = match request {
            Request::Load { memory, model } => {
                limit(memory);
                match guarded(|| runtime.load(model, None)) {
                    Ok(loaded) => {
                        program = Some(loaded);
                        Ok(Vec::new())
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            Request::Run { inputs, outputs } => match &program {
                Some(program) => {
                    let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
                    guarded(|| program.run(&inputs, &outputs)).map_err(|error| error.to_string())
                }
                None => Err("no net is loaded".to_owned()),
            },
        };
        wire::write_answer(&mut output, &answer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
