import com.hivemq.configuration.service.InternalConfigurations;
import com.hivemq.embedded.EmbeddedHiveMQ;
import java.nio.file.Path;

/** A broker with its configuration, data and extensions in a folder. */
class HiveMq {
    public static void main(String[] arguments) {
        var folder = Path.of(arguments[0]);
        // Of 64 stores on disk, which each broker has, a test fills none.
        InternalConfigurations.PERSISTENCE_BUCKET_COUNT.set(4);
        EmbeddedHiveMQ.builder()
            .withConfigurationFolder(folder.resolve("conf"))
            .withDataFolder(folder.resolve("data"))
            .withExtensionsFolder(folder.resolve("extensions"))
            .build().start().join();
    }
}
