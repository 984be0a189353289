package aqueduct.flume;

import java.io.ByteArrayOutputStream;
import java.util.HashMap;
import java.util.Map;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.serialization.EventSerializer;
import org.apache.flume.serialization.EventSerializerFactory;

/**
 * An event serializer. Each file of the agent has an instance of the class, which is called as by
 * Flume's sinks: `afterCreate`, `write` for each event, `flush` after each batch, `beforeClose`.
 *
 * <p>The stream of an instance has the bytes until the answer. An exception ends this process, so
 * that the agent drops the files and writes their batches again.
 */
final class Serializers implements Bridge.Role {
  private final Connection connection;
  private final String type;
  private final Context context;
  private final Map<Long, Output> files = new HashMap<>();
  private final Wire.Writer answer = new Wire.Writer();

  /** An unfinished file. */
  private static final class Output {
    final ByteArrayOutputStream content = new ByteArrayOutputStream();
    final EventSerializer serializer;

    Output(String type, Context context) throws Exception {
      serializer = EventSerializerFactory.getInstance(type, context, content);
      serializer.afterCreate();
    }
  }

  Serializers(Connection connection, String type, Context context) throws Exception {
    this.connection = connection;
    this.type = type;
    this.context = context;
    // Reports a missing class before the first event.
    EventSerializerFactory.getInstance(type, context, new ByteArrayOutputStream());
  }

  @Override
  public void encode(Wire.Encode request) throws Exception {
    request.dropped.forEach(files::remove);
    Output file = files.get(request.file);
    if (file == null) {
      file = new Output(type, context);
      files.put(request.file, file);
    }
    for (Event event : request.batch.events) {
      file.serializer.write(event);
    }
    file.serializer.flush();
    if (request.ends) {
      file.serializer.beforeClose();
      files.remove(request.file);
    }
    answer.reset();
    answer.number(1, request.batch.number).data(2, file.content.toByteArray());
    file.content.reset();
    connection.write(Bridge.ENCODED, answer);
  }

  @Override
  public void close() {
    files.clear();
  }
}
