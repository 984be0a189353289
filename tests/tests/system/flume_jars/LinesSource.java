package com.example.flume;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.PollableSource;
import org.apache.flume.conf.Configurable;
import org.apache.flume.event.EventBuilder;
import org.apache.flume.source.AbstractSource;

/** A pollable source: reads lines, and stores its offset after its channel has the events. */
public class LinesSource extends AbstractSource implements Configurable, PollableSource {
  private Path path;
  private Path offset;
  private int batchSize;

  @Override
  public void configure(Context context) {
    path = Path.of(context.getString("path"));
    offset = Path.of(context.getString("path") + ".offset");
    batchSize = context.getInteger("batchSize", 20);
  }

  @Override
  public Status process() throws EventDeliveryException {
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "r")) {
      file.seek(Files.exists(offset) ? Long.parseLong(Files.readString(offset)) : 0);
      List<Event> events = new ArrayList<>();
      long end = file.getFilePointer();
      while (events.size() < batchSize) {
        String line = file.readLine();
        if (line == null || file.getFilePointer() == file.length() && !endsWithLine(file)) {
          break;
        }
        end = file.getFilePointer();
        events.add(EventBuilder.withBody(line, StandardCharsets.UTF_8));
      }
      if (events.isEmpty()) {
        return Status.BACKOFF;
      }
      getChannelProcessor().processEventBatch(events);
      Path next = Path.of(offset + ".new");
      Files.writeString(next, Long.toString(end));
      Files.move(next, offset, StandardCopyOption.ATOMIC_MOVE);
      return Status.READY;
    } catch (IOException error) {
      throw new EventDeliveryException(error);
    }
  }

  private static boolean endsWithLine(RandomAccessFile file) throws IOException {
    file.seek(file.length() - 1);
    return file.read() == '\n';
  }

  @Override
  public long getBackOffSleepIncrement() {
    return 100;
  }

  @Override
  public long getMaxBackOffSleepInterval() {
    return 500;
  }
}
