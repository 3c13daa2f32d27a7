//! Writes TFLite files.

/// The fields of a table, by their numbers in the schema.
pub type Fields = Vec<(usize, Field)>;

/// The content of a field.
#[derive(Debug, Clone)]
pub enum Field {
    U8(u8),
    I32(i32),
    U32(u32),
    Bytes(Vec<u8>),
    Ints(Vec<i32>),
    Table(Fields),
    Tables(Vec<Fields>),
}

/// A file in the making. The tensors 0 and 1 are its input and its output.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The number of each kind of operator, and the name if it is a custom one.
    pub codes: Vec<(i32, &'static str)>,
    pub tensors: Vec<Tensor>,
    pub operators: Vec<Operator>,
    /// How many times the graph is there.
    pub graphs: usize,
}

#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: &'static str,
    pub shape: Vec<i32>,
    pub kind: u8,
    pub data: Vec<u8>,
    pub is_sparse: bool,
    /// The tensor whose data it has.
    pub buffer_of: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Operator {
    /// The index of its kind.
    pub code: u32,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub options: Fields,
    pub custom: Vec<u8>,
}

impl Draft {
    /// A file with one operator, which takes the input, and constants as they are added.
    pub fn one(code: i32, input: &[i32], output: &[i32], options: Fields) -> Self {
        let operator = Operator { inputs: vec![0], outputs: vec![1], options, ..Operator::default() };
        let mut draft = Self { codes: vec![(code, "")], tensors: Vec::new(), operators: vec![operator], graphs: 1 };
        draft.tensor("in", input, 0, Vec::new());
        draft.tensor("out", output, 0, Vec::new());
        draft
    }

    /// Adds a tensor, and returns its index.
    pub fn tensor(&mut self, name: &'static str, shape: &[i32], kind: u8, data: Vec<u8>) -> i32 {
        self.tensors.push(Tensor { name, shape: shape.to_vec(), kind, data, is_sparse: false, buffer_of: None });
        self.tensors.len() as i32 - 1
    }

    /// Adds a constant that the first operator takes.
    pub fn f32(&mut self, name: &'static str, shape: &[i32], numbers: &[f32]) {
        let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let tensor = self.tensor(name, shape, 0, data);
        self.operators[0].inputs.push(tensor);
    }

    /// Adds a constant that the first operator takes.
    pub fn i32(&mut self, name: &'static str, shape: &[i32], numbers: &[i32]) {
        let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let tensor = self.tensor(name, shape, 2, data);
        self.operators[0].inputs.push(tensor);
    }

    /// Adds a kind of operator, and returns its index.
    pub fn code(&mut self, number: i32, custom: &'static str) -> u32 {
        self.codes.push((number, custom));
        self.codes.len() as u32 - 1
    }

    /// Returns the shape of a tensor.
    pub fn shape(&self, tensor: usize) -> Vec<usize> {
        self.tensors[tensor].shape.iter().map(|side| *side as usize).collect()
    }

    /// Returns the file. It ends with the last tensor's data, if that has any.
    pub fn file(&self) -> Vec<u8> {
        let codes = self.codes.iter().map(|(number, custom)| {
            let old = Field::U8((*number).min(127) as u8);
            vec![(0, old), (1, Field::Bytes(custom.as_bytes().to_vec())), (3, Field::I32(*number))]
        });
        // The first buffer is empty, and stands for none.
        let with_data = self.tensors.iter().enumerate().filter(|(_, tensor)| !tensor.data.is_empty());
        let with_data: Vec<usize> = with_data.map(|(index, _)| index).collect();
        let buffers = with_data.iter().map(|index| vec![(0, Field::Bytes(self.tensors[*index].data.clone()))]);
        let buffers = [Fields::new()].into_iter().chain(buffers).collect();
        let tensors = self.tensors.iter().enumerate().map(|(index, tensor)| {
            let data = tensor.buffer_of.unwrap_or(index);
            let buffer = with_data.iter().position(|with| *with == data).map_or(0, |position| position as u32 + 1);
            let mut fields = vec![
                (0, Field::Ints(tensor.shape.clone())),
                (1, Field::U8(tensor.kind)),
                (2, Field::U32(buffer)),
                (3, Field::Bytes(tensor.name.as_bytes().to_vec())),
            ];
            if tensor.is_sparse {
                fields.push((6, Field::Table(Fields::new())));
            }
            fields
        });
        let operators = self.operators.iter().map(|operator| {
            vec![
                (0, Field::U32(operator.code)),
                (1, Field::Ints(operator.inputs.clone())),
                (2, Field::Ints(operator.outputs.clone())),
                (4, Field::Table(operator.options.clone())),
                (5, Field::Bytes(operator.custom.clone())),
            ]
        });
        let graph = vec![
            (0, Field::Tables(tensors.collect())),
            (1, Field::Ints(vec![0])),
            (2, Field::Ints(vec![1])),
            (3, Field::Tables(operators.collect())),
        ];
        let model = vec![
            (0, Field::U32(3)),
            (1, Field::Tables(codes.collect())),
            (2, Field::Tables(vec![graph; self.graphs])),
            (4, Field::Tables(buffers)),
        ];
        let mut bytes = b"\0\0\0\0TFL3".to_vec();
        let root = table(&mut bytes, &model);
        patch(&mut bytes, 0, root);
        bytes
    }
}

/// Writes a table and all that it refers to, and returns its position.
fn table(bytes: &mut Vec<u8>, fields: &Fields) -> usize {
    align(bytes);
    let vtable = bytes.len();
    let count = fields.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
    let mut entries = vec![0_u16; count];
    for (index, (number, _)) in fields.iter().enumerate() {
        entries[*number] = 4 + 4 * index as u16;
    }
    let sizes = [4 + 2 * count as u16, 4 + 4 * fields.len() as u16];
    bytes.extend(sizes.iter().chain(&entries).flat_map(|entry| entry.to_le_bytes()));
    align(bytes);
    let at = bytes.len();
    bytes.extend(((at - vtable) as i32).to_le_bytes());
    bytes.resize(at + 4 + 4 * fields.len(), 0);
    for (index, (_, field)) in fields.iter().enumerate() {
        let place = at + 4 + 4 * index;
        match field {
            Field::U8(number) => bytes[place] = *number,
            Field::I32(number) => bytes[place..place + 4].copy_from_slice(&number.to_le_bytes()),
            Field::U32(number) => bytes[place..place + 4].copy_from_slice(&number.to_le_bytes()),
            Field::Bytes(list) => {
                let start = length(bytes, list.len());
                bytes.extend(list);
                patch(bytes, place, start);
            }
            Field::Ints(list) => {
                let start = length(bytes, list.len());
                bytes.extend(list.iter().flat_map(|number| number.to_le_bytes()));
                patch(bytes, place, start);
            }
            Field::Table(fields) => {
                let start = table(bytes, fields);
                patch(bytes, place, start);
            }
            Field::Tables(list) => {
                let start = length(bytes, list.len());
                bytes.resize(bytes.len() + 4 * list.len(), 0);
                patch(bytes, place, start);
                for (index, fields) in list.iter().enumerate() {
                    let child = table(bytes, fields);
                    patch(bytes, start + 4 + 4 * index, child);
                }
            }
        }
    }
    at
}

/// Writes the length that a list begins with, and returns its position.
fn length(bytes: &mut Vec<u8>, length: usize) -> usize {
    align(bytes);
    bytes.extend((length as u32).to_le_bytes());
    bytes.len() - 4
}

/// Writes an offset to a later position.
fn patch(bytes: &mut [u8], place: usize, to: usize) {
    bytes[place..place + 4].copy_from_slice(&((to - place) as u32).to_le_bytes());
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
