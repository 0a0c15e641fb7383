import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A node's API in the JVM: takes IRI's options, answers getNodeInfo, and works hard enough for the JIT to compile. */
public final class LabNode {
    private static final Pattern COMMAND = Pattern.compile("\"command\"\\s*:\\s*\"(\\w+)\"");
    private static final long BORN = System.currentTimeMillis();
    private static volatile long sink;

    public static void main(String[] arguments) throws IOException {
        String host = "127.0.0.1";
        int port = 14265;
        for (int place = 0; place + 1 < arguments.length; place++) {
            if (arguments[place].equals("--port")) {
                port = Integer.parseInt(arguments[place + 1]);
            } else if (arguments[place].equals("--api-host")) {
                host = arguments[place + 1];
            }
        }
        work();
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 0);
        server.createContext("/", LabNode::answer);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
        System.out.println("listening on " + host + ":" + port);
    }

    private static void work() {
        long value = 88172645463325252L;
        for (int turn = 0; turn < 50_000_000; turn++) {
            value ^= value << 13;
            value ^= value >>> 7;
            value ^= value << 17;
        }
        sink = value;
    }

    private static void answer(HttpExchange exchange) throws IOException {
        String asked = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        Matcher found = COMMAND.matcher(asked);
        boolean known = found.find() && found.group(1).equals("getNodeInfo");
        byte[] body = (known ? info() : "{\"error\": \"Command is unknown\", \"duration\": 0}").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(known ? 200 : 400, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private static String info() {
        long now = System.currentTimeMillis();
        long milestone = 1_000_000 + (now - BORN) / 10_000;
        return String.format(
            "{\"appName\": \"IRI\", \"appVersion\": \"1.8.6\", \"jreVersion\": \"%s\", \"latestMilestoneIndex\": %d,"
            + " \"latestSolidSubtangleMilestoneIndex\": %d, \"neighbors\": 3, \"tips\": 100, \"time\": %d, \"duration\": 0}",
            System.getProperty("java.version"), milestone, milestone, now);
    }
}
