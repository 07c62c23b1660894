/** TUN devices of Linux, through the C library: IP packets that this process reads and writes. */

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const TUNSETIFF = 0x400454can;
const IFF_TUN = 1;
/** Packets as they are, without a header of the device's. */
const IFF_NO_PI = 0x1000;
const POLLIN = 1;
/** Bytes of the kernel's struct ifreq and struct pollfd. */
const IFREQ_BYTES = 40;
const POLLFD_BYTES = 8;

const libc = Deno.dlopen("libc.so.6", {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  ppoll: { parameters: ["buffer", "u64", "buffer", "pointer"], result: "i32" },
});

function text(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${value}\0`);
}

/** Network devices whose packets come here, in this thread. */
export class TunDevices {
  readonly #fds: number[] = [];
  readonly #polled: DataView<ArrayBuffer>;
  readonly #timeout = new BigInt64Array(2);

  /** Makes one device for each name. Needs the rights of root. */
  constructor(names: readonly string[]) {
    for (const name of names) this.#fds.push(openTun(name));
    this.#polled = new DataView(new ArrayBuffer(names.length * POLLFD_BYTES));
    this.#fds.forEach((fd, i) => {
      this.#polled.setInt32(i * POLLFD_BYTES, fd, true);
      this.#polled.setInt16(i * POLLFD_BYTES + 4, POLLIN, true);
    });
  }

  /** Waits until some device has a packet, so many nanoseconds at most. Blocks the thread. */
  wait(ns: number): void {
    this.#timeout[0] = BigInt(Math.floor(ns / 1e9));
    this.#timeout[1] = BigInt(Math.floor(ns % 1e9));
    libc.symbols.ppoll(this.#polled, BigInt(this.#fds.length), this.#timeout, null);
  }

  /** Reads one packet of a device into `into`; returns its length, or 0 where there is none. */
  read(device: number, into: Uint8Array<ArrayBuffer>): number {
    const n = Number(libc.symbols.read(this.#fds[device]!, into, BigInt(into.length)));
    return Math.max(0, n);
  }

  /** Hands a packet to a device. One that it cannot take is lost, as on any network. */
  write(device: number, packet: Uint8Array<ArrayBuffer>): void {
    libc.symbols.write(this.#fds[device]!, packet, BigInt(packet.length));
  }

  /** The devices vanish, wherever they have been moved. */
  close(): void {
    for (const fd of this.#fds) libc.symbols.close(fd);
  }
}

function openTun(name: string): number {
  const fd = libc.symbols.open(text("/dev/net/tun"), O_RDWR | O_NONBLOCK);
  if (fd < 0) throw new Error("cannot open /dev/net/tun: it needs the rights of root");
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(text(name));
  new DataView(request.buffer).setUint16(16, IFF_TUN | IFF_NO_PI, true);
  if (libc.symbols.ioctl(fd, TUNSETIFF, request) < 0) {
    throw new Error(`cannot make the network device ${name}: is there one already?`);
  }
  return fd;
}
