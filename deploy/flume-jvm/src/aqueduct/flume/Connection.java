package aqueduct.flume;

import java.io.EOFException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;

/** The connection to the agent: a message has its length in four bytes before it. */
final class Connection {
  private final SocketChannel channel;
  private final ByteBuffer length = ByteBuffer.allocate(4);

  Connection(String path) throws IOException {
    channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(path));
  }

  /** Reads a message: the field of FromAgent and the message in it. */
  Wire.Reader read() throws IOException {
    length.clear();
    fill(length);
    ByteBuffer frame = ByteBuffer.allocate(length.getInt(0));
    fill(frame);
    Wire.Reader message = new Wire.Reader(frame.array(), 0, frame.capacity());
    if (!message.next()) {
      throw new IOException("the agent has sent an empty message");
    }
    return message;
  }

  private void fill(ByteBuffer buffer) throws IOException {
    while (buffer.hasRemaining()) {
      if (channel.read(buffer) < 0) {
        throw new EOFException("the agent has closed the connection");
      }
    }
  }

  /** Sends a message as this field of FromPlugin. */
  synchronized void write(int field, Wire.Writer message) throws IOException {
    Wire.Writer head = new Wire.Writer();
    head.length(field, message.size());
    ByteBuffer frame = ByteBuffer.allocate(4 + head.size() + message.size());
    frame.putInt(head.size() + message.size());
    frame.put(head.buffer(), 0, head.size()).put(message.buffer(), 0, message.size()).flip();
    while (frame.hasRemaining()) {
      channel.write(frame);
    }
  }
}
