package com.example.flume;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import org.apache.flume.Context;
import org.apache.flume.EventDrivenSource;
import org.apache.flume.conf.Configurable;
import org.apache.flume.event.EventBuilder;
import org.apache.flume.source.AbstractSource;

/** An event-driven source: answers OK to each line that its channel has. */
public class LinesServer extends AbstractSource implements Configurable, EventDrivenSource {
  private int port;
  private ServerSocket server;

  @Override
  public void configure(Context context) {
    port = context.getInteger("port");
  }

  @Override
  public synchronized void start() {
    try {
      server = new ServerSocket(port, 50, InetAddress.getLoopbackAddress());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    new Thread(this::serve, "lines-server").start();
    super.start();
  }

  private void serve() {
    while (!server.isClosed()) {
      try (Socket socket = server.accept()) {
        BufferedReader lines = new BufferedReader(
            new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
          getChannelProcessor().processEvent(EventBuilder.withBody(line, StandardCharsets.UTF_8));
          socket.getOutputStream().write("OK\n".getBytes(StandardCharsets.UTF_8));
        }
      } catch (IOException | RuntimeException ignored) {
        // The client repeats the line.
      }
    }
  }

  @Override
  public synchronized void stop() {
    try {
      server.close();
    } catch (IOException ignored) {
      // It is closed.
    }
    super.stop();
  }
}
