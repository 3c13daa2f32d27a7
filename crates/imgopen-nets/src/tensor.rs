//! Tensors that go into nets and come out of them.

use std::fmt;

/// An array of numbers with any number of dimensions, in row-major order.
///
/// ```
/// use imgopen_nets::Tensor;
///
/// let tensor = Tensor::new([2, 3], vec![0.0_f32; 6])?;
/// assert_eq!((tensor.shape(), tensor.as_f32().map(<[f32]>::len)), (&[2, 3][..], Some(6)));
/// assert!(Tensor::new([2, 3], vec![0.0_f32; 5]).is_err());
/// # Ok::<(), imgopen_nets::WrongLength>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Values,
}

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers with a fraction.
    F32(Vec<f32>),
    /// Whole numbers from 0 to 255.
    U8(Vec<u8>),
    /// Whole numbers. They also stand for 32-bit ones and for truth values.
    I64(Vec<i64>),
}

/// The number of elements is not the product of the dimensions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{elements} elements do not fill a tensor of {}", shown(.shape))]
pub struct WrongLength {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The number of elements.
    pub elements: usize,
}

/// The type of a tensor's elements, as a model file declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// `float`, given and returned as [`Values::F32`].
    F32,
    /// `double`, given and returned as [`Values::F32`].
    F64,
    /// `uint8`, given and returned as [`Values::U8`].
    U8,
    /// `int32`, given and returned as [`Values::I64`].
    I32,
    /// `int64`, given and returned as [`Values::I64`].
    I64,
    /// `bool`, returned as [`Values::I64`] of zeros and ones.
    Bool,
    /// Any other type, by its number in ONNX. It can be neither given nor returned.
    Other(i32),
}

/// A dimension of a net's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// It has this size.
    Fixed(usize),
    /// It may have any size that the net can work with; dimensions of the same name have the same size.
    Named(String),
    /// It may have any size that the net can work with.
    Unknown,
}

/// An input or an output of a net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name.
    pub name: String,
    /// The type of the elements.
    pub element: ElementType,
    /// The dimensions, outermost first; `None` if the file does not declare them.
    pub shape: Option<Vec<Dimension>>,
}

impl Tensor {
    /// Creates a tensor.
    ///
    /// # Errors
    ///
    /// [`WrongLength`] if the number of elements is not the product of the dimensions.
    pub fn new(shape: impl Into<Vec<usize>>, values: impl Into<Values>) -> Result<Self, WrongLength> {
        let (shape, values) = (shape.into(), values.into());
        let product = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        if product != Some(values.len()) {
            return Err(WrongLength { elements: values.len(), shape });
        }
        Ok(Self { shape, values })
    }

    /// Creates a tensor whose number of elements is known to be right.
    pub(crate) fn of_checked(shape: Vec<usize>, values: Values) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { shape, values }
    }

    /// Returns the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Returns the dimensions and the elements.
    pub fn into_parts(self) -> (Vec<usize>, Values) {
        (self.shape, self.values)
    }

    /// Returns the elements if they are numbers with a fraction.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.values {
            Values::F32(values) => Some(values),
            Values::U8(_) | Values::I64(_) => None,
        }
    }

    /// Returns whether there is neither an infinity nor what is not a number among the elements.
    pub(crate) fn is_finite(&self) -> bool {
        self.as_f32().is_none_or(|values| values.iter().all(|value| value.is_finite()))
    }
}

impl Values {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::U8(values) => values.len(),
            Values::I64(values) => values.len(),
        }
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether an input with these elements takes them.
    pub(crate) fn fits(&self, element: ElementType) -> bool {
        match self {
            Values::F32(_) => matches!(element, ElementType::F32 | ElementType::F64),
            Values::U8(_) => element == ElementType::U8,
            Values::I64(_) => matches!(element, ElementType::I32 | ElementType::I64),
        }
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Values::F32(values)
    }
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Self {
        Values::U8(values)
    }
}

impl From<Vec<i64>> for Values {
    fn from(values: Vec<i64>) -> Self {
        Values::I64(values)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementType::F32 => f.write_str("float"),
            ElementType::F64 => f.write_str("double"),
            ElementType::U8 => f.write_str("uint8"),
            ElementType::I32 => f.write_str("int32"),
            ElementType::I64 => f.write_str("int64"),
            ElementType::Bool => f.write_str("bool"),
            ElementType::Other(10) => f.write_str("float16"),
            ElementType::Other(16) => f.write_str("bfloat16"),
            ElementType::Other(number) => write!(f, "type {number} of ONNX"),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Fixed(size) => write!(f, "{size}"),
            Dimension::Named(name) => f.write_str(name),
            Dimension::Unknown => f.write_str("?"),
        }
    }
}

/// Batch and channels stand before the sides of pictures.
const SIDES: usize = 2;

impl Port {
    /// Returns whether a tensor of that shape can be given.
    pub(crate) fn takes(&self, shape: &[usize]) -> bool {
        let fits = |(declared, given): (&Dimension, &usize)| match declared {
            Dimension::Fixed(size) => size == given,
            Dimension::Named(_) | Dimension::Unknown => true,
        };
        self.shape.as_ref().is_none_or(|declared| declared.len() == shape.len() && declared.iter().zip(shape).all(fits))
    }

    /// Returns the sides of pictures in a shape that the file leaves open.
    pub(crate) fn open_sides<'a>(&'a self, shape: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        let declared = self.shape.iter().flatten().zip(shape).skip(SIDES);
        declared.filter(|(declared, _)| !matches!(declared, Dimension::Fixed(_))).map(|(_, side)| *side)
    }

    /// Returns a shape that can be given: sides of pictures that the file leaves open have that length, and other dimensions are 1.
    pub(crate) fn with_sides(&self, side: usize) -> Option<Vec<usize>> {
        let length = |(axis, dimension): (usize, &Dimension)| match dimension {
            Dimension::Fixed(length) => *length,
            Dimension::Named(_) | Dimension::Unknown if axis >= SIDES => side,
            Dimension::Named(_) | Dimension::Unknown => 1,
        };
        Some(self.shape.as_ref()?.iter().enumerate().map(length).collect())
    }
}

/// Writes dimensions as `1x3x64x64`.
pub(crate) fn shown<T: fmt::Display>(shape: &[T]) -> String {
    match shape {
        [] => "no dimension".to_owned(),
        shape => shape.iter().map(T::to_string).collect::<Vec<_>>().join("x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_as_many_elements_as_its_dimensions_say() {
        assert_eq!(Tensor::new(Vec::new(), vec![3_i64]).unwrap().into_parts(), (vec![], Values::I64(vec![3])));
        assert!(Tensor::new([4, 0], Vec::<u8>::new()).unwrap().values().is_empty());
        let error = Tensor::new([2, 3], vec![0.0_f32; 7]).unwrap_err();
        assert_eq!(error.to_string(), "7 elements do not fill a tensor of 2x3");
        assert!(Tensor::new([usize::MAX, 2], vec![0.0_f32; 7]).is_err());
    }

    #[test]
    fn numbers_fit_inputs_of_their_kind() {
        let fitting = |values: Values| {
            let all = [ElementType::F32, ElementType::F64, ElementType::U8, ElementType::I32, ElementType::I64];
            all.into_iter().filter(|element| values.fits(*element)).collect::<Vec<_>>()
        };
        assert_eq!(fitting(vec![0.5_f32].into()), [ElementType::F32, ElementType::F64]);
        assert_eq!(fitting(vec![1_u8].into()), [ElementType::U8]);
        assert_eq!(fitting(vec![1_i64].into()), [ElementType::I32, ElementType::I64]);
    }

    #[test]
    fn an_input_takes_what_its_fixed_dimensions_allow() {
        let shape = Some(vec![Dimension::Fixed(1), Dimension::Named("height".to_owned()), Dimension::Unknown]);
        let port = Port { name: "x".to_owned(), element: ElementType::F32, shape };
        assert!(port.takes(&[1, 5, 7]));
        assert!(!port.takes(&[2, 5, 7]) && !port.takes(&[1, 5]) && !port.takes(&[1, 5, 7, 1]));
        assert!(Port { shape: None, ..port }.takes(&[3]));
    }
}
