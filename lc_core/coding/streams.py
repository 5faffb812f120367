"""A stream of an arithmetic coder: bytes that are written or read bit by bit, each bit with its probability.

A binary range coder with carries: a bit takes the part of the interval [low, low + range) that its probability says
(Martin, "Range encoding", 1979; Schindler 1998). The interval has 32 bits, a probability 16.
"""

from dataclasses import dataclass, field

WHOLE = 1 << 32
"""The first range."""
SHORT = 1 << 24
"""A shorter range moves bytes out until it is as long again."""


@dataclass
class Stream:
    """Where a coder stands in its bytes.

    Attributes:
        data: the bytes written so far, and room for more; or all that can be read. Zeros follow them.
        low: the interval's low end; for a reader, the distance of the code from it.
        range: the interval's length.
        place: of the next byte.
    """

    data: bytearray = field(default_factory=bytearray)
    low: int = 0
    range: int = WHOLE
    place: int = 0

    @staticmethod
    def of(data: bytes) -> "Stream":
        """A stream to read `data` from."""
        return Stream(bytearray(data), int.from_bytes(data[:4].ljust(4, b"\0"), "big"), place=4)

    def make_room(self, bits: int) -> None:
        """Makes room to write `bits` bits, whatever their probabilities."""
        self.data.extend(bytes(max(self.place + 2 * bits + 16 - len(self.data), 0)))

    def write(self, bit: int, probability: int) -> int:
        """Writes `bit`, a 1 with `probability` from 1 to 65535, and returns it."""
        bound = (self.range >> 16) * probability
        if bit:
            self.range = bound
        else:
            self.low += bound
            self.range -= bound
            if self.low >= WHOLE:
                self.low -= WHOLE
                self._carry()
        while self.range < SHORT:
            self.data[self.place] = self.low >> 24
            self.place += 1
            self.low = self.low << 8 & WHOLE - 1
            self.range <<= 8
        return bit

    def read(self, _: int, probability: int) -> int:
        """The next bit, a 1 with `probability`. The first argument is that of `write`."""
        bound = (self.range >> 16) * probability
        bit = int(self.low < bound)
        if bit:
            self.range = bound
        else:
            self.low -= bound
            self.range -= bound
        while self.range < SHORT:
            self.low = self.low << 8 | (self.data[self.place] if self.place < len(self.data) else 0)
            self.place += 1
            self.range <<= 8
        return bit

    def finished(self) -> bytes:
        """What was written, in the fewest bytes that read the same."""
        written = int.from_bytes(self.data[: self.place], "big") << 32
        for size in range(5):
            unit = 1 << 8 * (4 - size)
            value = -(-self.low // unit) * unit
            if value < self.low + self.range:
                break
        return (written + value).to_bytes(self.place + 4, "big").rstrip(b"\0")

    @property
    def unread(self) -> int:
        """How many of the bytes no bit was read from."""
        return max(len(self.data) - self.place, 0)

    def _carry(self) -> None:
        place = self.place - 1
        while self.data[place] == 255:
            self.data[place] = 0
            place -= 1
        self.data[place] += 1
