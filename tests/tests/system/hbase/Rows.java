// What the test does with HBase by its own client.
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.util.Bytes;

public class Rows {
    public static void main(String[] args) throws Exception {
        try (Connection connection = ConnectionFactory.createConnection(HBaseConfiguration.create());
                Admin admin = connection.getAdmin()) {
            TableName name = TableName.valueOf(args[1]);
            switch (args[0]) {
                case "create" -> create(admin, name, args);
                case "split" -> split(admin, name, args[2]);
                case "move" -> move(admin, name);
                case "read" -> read(connection, name);
                default -> throw new IllegalArgumentException(args[0]);
            }
        }
        System.exit(0);
    }

    /** Families that keep three versions of a cell, so that one that is written twice is seen. */
    static void create(Admin admin, TableName name, String[] args) throws Exception {
        TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(name);
        for (int at = 2; at < args.length; at++) {
            table.setColumnFamily(
                ColumnFamilyDescriptorBuilder.newBuilder(Bytes.toBytes(args[at])).setMaxVersions(3).build());
        }
        admin.createTable(table.build());
    }

    static void split(Admin admin, TableName name, String key) throws Exception {
        int before = admin.getRegions(name).size();
        admin.split(name, Bytes.toBytes(key));
        while (admin.getRegions(name).size() <= before) {
            Thread.sleep(50);
        }
        System.out.println(admin.getRegions(name).size());
    }

    /** Each region goes to a server that it is not at. */
    static void move(Admin admin, TableName name) throws Exception {
        List<ServerName> servers = List.copyOf(admin.getRegionServers());
        List<List<RegionInfo>> regions = new ArrayList<>();
        for (ServerName server : servers) {
            regions.add(admin.getRegions(server));
        }
        for (int at = 0; at < servers.size(); at++) {
            ServerName to = servers.get((at + 1) % servers.size());
            for (RegionInfo region : regions.get(at)) {
                if (region.getTable().equals(name)) {
                    admin.move(region.getEncodedNameAsBytes(), to);
                    System.out.println(region.getEncodedName());
                }
            }
        }
    }

    /** A line for each cell, of all versions: row, column, time, value. */
    static void read(Connection connection, TableName name) throws Exception {
        StringBuilder out = new StringBuilder();
        try (Table table = connection.getTable(name);
                ResultScanner scanner = table.getScanner(new Scan().readAllVersions().setCaching(1000))) {
            for (Result row : scanner) {
                for (Cell cell : row.rawCells()) {
                    byte[] value = CellUtil.cloneValue(cell);
                    String family = Bytes.toString(CellUtil.cloneFamily(cell));
                    boolean counts = family.equals("n") && value.length == 8;
                    out.append(Bytes.toString(CellUtil.cloneRow(cell))).append('\t');
                    out.append(family).append(':').append(Bytes.toString(CellUtil.cloneQualifier(cell)));
                    out.append('\t').append(cell.getTimestamp()).append('\t');
                    out.append(counts ? Long.toString(Bytes.toLong(value)) : new String(value, StandardCharsets.UTF_8));
                    out.append('\n');
                }
            }
        }
        System.out.print(out);
        System.out.flush();
    }
}
