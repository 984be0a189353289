package aqueduct.flume;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flume.Context;

/**
 * Runs one source, interceptor, channel selector, sink or serializer of Flume for an agent of
 * Aqueduct: a plug-in by proto/plugin/v1/plugin.proto. The settings are the properties of the component, with its class as
 * `type`.
 *
 * <pre>
 *   agent ── frames over a Unix socket ── Bridge ── Interceptors, SourceRole, … ── class
 * </pre>
 */
public final class Bridge {
  /** Fields of FromAgent. */
  private static final int HELLO = 1;
  private static final int BATCH = 2;
  private static final int NEXT = 3;
  private static final int ENCODE = 4;
  /** Fields of FromPlugin. */
  private static final int WELCOME = 1;
  static final int INTERCEPTED = 2;
  static final int SETTLED = 3;
  static final int PRODUCED = 4;
  private static final int FAILED = 5;
  static final int ENCODED = 6;
  static final int SELECTED = 7;
  private static final int VERSION = 1;
  /** Time for a class to stop. The agent kills the process after 3 s. */
  private static final long STOP_MS = 2500;

  /** A component that answers requests. */
  interface Role {
    default void batch(Wire.Batch batch) throws Exception {
      throw new IllegalStateException("this role gets no batches");
    }

    default void next(Wire.Reader request) throws Exception {
      throw new IllegalStateException("only a source is asked for events");
    }

    default void encode(Wire.Encode request) throws Exception {
      throw new IllegalStateException("only an encoder gets files");
    }

    void close();
  }

  private Bridge() {}

  /** See `Launcher`. */
  public static void main(String[] arguments) throws Exception {
    // Log4j 2 without a configuration prints errors only.
    if (System.getProperty("log4j2.level") == null) {
      System.setProperty("log4j2.level", "INFO");
    }
    String socket = System.getenv("AQUEDUCT_PLUGIN_SOCKET");
    if (socket == null) {
      System.err.println("AQUEDUCT_PLUGIN_SOCKET is not set: only an agent starts this program");
      System.exit(2);
    }
    Connection connection = new Connection(socket);
    Role role = null;
    try {
      role = start(connection, List.of(arguments));
      serve(connection, role);
    } catch (Throwable failure) {
      fail(connection, failure);
    }
  }

  /** Answers Hello, after the class has started. */
  private static Role start(Connection connection, List<String> arguments) throws Exception {
    Wire.Reader hello = connection.read();
    if (hello.field != HELLO) {
      throw new IOException("the first message is not Hello");
    }
    String name = "";
    String kind = "";
    Map<String, String> properties = Map.of();
    List<String> channels = new ArrayList<>();
    for (Wire.Reader field = hello.message(); field.next();) {
      switch (field.field) {
        case 2 -> kind = field.text();
        case 3 -> name = field.text();
        case 4 -> properties = Json.properties(field.text());
        case 7 -> channels.add(field.text());
        default -> { }
      }
    }
    String type = properties.get("type");
    if (type == null) {
      throw new IllegalArgumentException("`settings` has no `type`: set it to the Flume class");
    }
    Context context = new Context(properties);
    Role role = switch (kind) {
      case "source" -> new SourceRole(connection, name, type, context);
      case "sink" -> new SinkRole(connection, name, type, context);
      case "selector" -> new Selectors(connection, properties, channels);
      case "encoder" -> new Serializers(connection, type, context);
      default -> new Interceptors(connection, type, context, arguments);
    };
    boolean mayHaveEffect = kind.equals("interceptor") || kind.equals("selector");
    boolean effect = mayHaveEffect && !arguments.contains("--pure");
    connection.write(WELCOME, new Wire.Writer().number(1, VERSION).text(2, kind).text(3, type)
        .number(4, effect ? 1 : 0));
    return role;
  }

  private static void serve(Connection connection, Role role) throws Exception {
    while (true) {
      Wire.Reader request;
      try {
        request = connection.read();
      } catch (IOException closed) {
        stop(role);
        return;
      }
      switch (request.field) {
        case BATCH -> role.batch(new Wire.Batch(request.message()));
        case NEXT -> role.next(request.message());
        case ENCODE -> role.encode(new Wire.Encode(request.message()));
        default -> { }
      }
    }
  }

  /** Stops the class and exits. */
  private static void stop(Role role) {
    Thread limit = new Thread(() -> {
      try {
        Thread.sleep(STOP_MS);
      } catch (InterruptedException ignored) {
        // Exits now.
      }
      Runtime.getRuntime().halt(0);
    }, "stop-limit");
    limit.setDaemon(true);
    limit.start();
    try {
      role.close();
    } finally {
      System.exit(0);
    }
  }

  /** Reports that the class cannot continue, and exits. */
  static void fail(Connection connection, Throwable failure) {
    failure.printStackTrace();
    try {
      connection.write(FAILED, new Wire.Writer().text(1, reason(failure)));
    } catch (IOException closed) {
      // The agent has closed the connection.
    }
    Runtime.getRuntime().halt(1);
  }

  /** Returns why it failed, for an operator. */
  static String reason(Throwable failure) {
    for (Throwable it = failure; it != null; it = it.getCause()) {
      if (it instanceof ClassNotFoundException || it instanceof NoClassDefFoundError) {
        String name = String.valueOf(it.getMessage()).replace('/', '.');
        return "class " + name + " is not on the class path; add its jar to --classpath";
      }
    }
    Throwable cause = failure.getCause();
    return failure + (cause == null || cause == failure ? "" : ": " + cause);
  }
}
