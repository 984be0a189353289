package aqueduct.flume;

/**
 * Checks the virtual machine and its class path, and starts the bridge. This class alone is compiled
 * for Java 8, so that older virtual machines print a message instead of a stack trace.
 */
public final class Launcher {
  /** The first version with Unix sockets that is supported for long. */
  private static final int OLDEST = 17;

  private Launcher() {}

  /** Arguments: `--pure` and `--refuse-failed`, see `Interceptors`. */
  public static void main(String[] arguments) throws Exception {
    String version = System.getProperty("java.specification.version");
    if (version.startsWith("1.") || Integer.parseInt(version) < OLDEST) {
      exit("Java " + version + " is too old for Flume classes: install Java " + OLDEST
          + " or later, or set JAVA_HOME to it");
    }
    String[] needed = {"org.apache.flume.Event", "org.apache.flume.channel.ChannelProcessor",
        "org.apache.flume.conf.ComponentConfiguration", "org.slf4j.Logger",
        "com.google.common.base.Preconditions"};
    String[] jars = {"flume-ng-sdk", "flume-ng-core", "flume-ng-configuration", "slf4j-api", "guava"};
    for (int at = 0; at < needed.length; at++) {
      try {
        Class.forName(needed[at], false, Launcher.class.getClassLoader());
      } catch (ClassNotFoundException | NoClassDefFoundError missing) {
        exit("the class path has no " + needed[at] + " (" + jars[at] + ".jar): add the jars in the folder lib of"
            + " Flume 1.11 to --classpath, or set FLUME_HOME");
      }
    }
    Class.forName("aqueduct.flume.Bridge").getMethod("main", String[].class)
        .invoke(null, (Object) arguments);
  }

  private static void exit(String problem) {
    System.err.println(problem);
    System.exit(1);
  }
}
